"""The table of encoders: raw input of a kind of modality -> Tokens."""

from mmjax.encoders.image.cnn import Cnn
from mmjax.encoders.image.vit import Vit
from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.text.lstm import TextLstm
from mmjax.encoders.text.transformer import TextTransformer

ENCODERS = {
    "image": {"cnn": Cnn, "vit": Vit},
    "text": {"bag_of_words": BagOfWords, "lstm": TextLstm, "transformer": TextTransformer},
}
