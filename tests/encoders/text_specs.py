"""Text encoders under the contract tests."""

from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.text.lstm import TextLstm
from mmjax.encoders.text.transformer import TextTransformer
from tests.encoders.spec import LARGE_TEXT, Spec, text

SPECS = {
    "text_transformer": Spec(TextTransformer, text, LARGE_TEXT, {"layers": 1}, {"layers": 24}),
    "lstm": Spec(TextLstm, text, LARGE_TEXT),
    "lstm_last": Spec(TextLstm, text, LARGE_TEXT, {"output": "last", "layers": 2}),
    "bag_of_words": Spec(BagOfWords, text, LARGE_TEXT),
    "bag_of_words_counts": Spec(BagOfWords, text, LARGE_TEXT, {"bag": "counts"}),
}
