"""The table of encoders: raw input of a kind of modality -> Tokens."""

from mmjax.encoders.audio.ast import SpectrogramTransformer
from mmjax.encoders.audio.autoencoder import AudioAutoencoder
from mmjax.encoders.audio.recurrent import AudioRecurrent
from mmjax.encoders.audio.resnet import SpectrogramResNet
from mmjax.encoders.audio.whisper import WhisperEncoder
from mmjax.encoders.image.cnn import Cnn
from mmjax.encoders.image.mobilenet import MobileNetV2
from mmjax.encoders.image.resnet import ResNet
from mmjax.encoders.image.vit import Vit
from mmjax.encoders.series.mlp import SeriesMlp
from mmjax.encoders.series.recurrent import SeriesRecurrent
from mmjax.encoders.series.transformer import SeriesTransformer
from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.text.cnn import TextCnn
from mmjax.encoders.text.recurrent import TextRecurrent
from mmjax.encoders.text.transformer import TextTransformer
from mmjax.encoders.vector.mlp import VectorMlp
from mmjax.encoders.vector.transformer import VectorTransformer
from mmjax.encoders.video.cnn3d import Cnn3d
from mmjax.encoders.video.frame_encoder import FrameEncoder
from mmjax.encoders.video.video_mae import VideoMae
from mmjax.encoders.video.vivit import Vivit

ENCODERS = {
    "audio": {
        "ast": SpectrogramTransformer,
        "autoencoder": AudioAutoencoder,
        "recurrent": AudioRecurrent,
        "resnet": SpectrogramResNet,
        "whisper": WhisperEncoder,
    },
    "image": {"cnn": Cnn, "mobilenet": MobileNetV2, "resnet": ResNet, "vit": Vit},
    "series": {
        "mlp": SeriesMlp,
        "recurrent": SeriesRecurrent,
        "transformer": SeriesTransformer,
    },
    "text": {
        "bag_of_words": BagOfWords,
        "cnn": TextCnn,
        "lstm": TextRecurrent,
        "recurrent": TextRecurrent,
        "transformer": TextTransformer,
    },
    "vector": {"mlp": VectorMlp, "transformer": VectorTransformer},
    "video": {"cnn3d": Cnn3d, "frames": FrameEncoder, "video_mae": VideoMae, "vivit": Vivit},
}
