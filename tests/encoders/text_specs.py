"""Text encoders under the contract tests."""

from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.text.cnn import TextCnn
from mmjax.encoders.text.recurrent import TextRecurrent
from mmjax.encoders.text.transformer import TextTransformer
from tests.encoders.spec import LARGE_TEXT, Spec, text

BERT = {
    "layers": 1,
    "norm": "post",
    "activation": "gelu_exact",
    "epsilon": 1e-12,
    "embedding_norm": True,
    "token_types": 2,
    "output": "first",
}
CLIP = {
    "layers": 1,
    "causal": True,
    "activation": "quick_gelu",
    "epsilon": 1e-5,
    "output": "last",
}

SPECS = {
    "text_transformer": Spec(TextTransformer, text, LARGE_TEXT, {"layers": 1}, {"layers": 24}),
    "text_bert": Spec(TextTransformer, text, LARGE_TEXT, BERT, {"layers": 24, "heads": 16}),
    "text_clip": Spec(TextTransformer, text, LARGE_TEXT, CLIP, {"size": "clip-large"}),
    "text_rotary": Spec(
        TextTransformer,
        text,
        LARGE_TEXT,
        {"size": "bert-tiny", "layers": 1, "positions": "rotary", "remat": True},
    ),
    "text_sincos": Spec(
        TextTransformer, text, LARGE_TEXT, {"layers": 1, "positions": "sincos", "output": "mean"}
    ),
    "lstm": Spec(TextRecurrent, text, LARGE_TEXT),
    "lstm_last": Spec(TextRecurrent, text, LARGE_TEXT, {"output": "last", "layers": 2}),
    "lstm_both": Spec(TextRecurrent, text, LARGE_TEXT, {"bidirectional": True}),
    "gru_both_last": Spec(
        TextRecurrent, text, LARGE_TEXT, {"cell": "gru", "bidirectional": True, "output": "last"}
    ),
    "text_cnn": Spec(TextCnn, text, LARGE_TEXT, {"channels": 8}),
    "text_cnn_sequence": Spec(
        TextCnn,
        text,
        LARGE_TEXT,
        {"kernel_sizes": (2, 5), "channels": 8, "output": "sequence", "activation": "tanh"},
    ),
    "bag_of_words": Spec(BagOfWords, text, LARGE_TEXT),
    "bag_of_words_counts": Spec(BagOfWords, text, LARGE_TEXT, {"bag": "counts"}),
}
