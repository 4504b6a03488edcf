"""The families of published models, each with how to recognise one and how to build it."""

from mmjax.interop.architectures.audio import (
    ast,
    resemblyzer,
    silero,
    wav2vec2,
    whisper,
    whisper_ct2,
)
from mmjax.interop.architectures.dual import big_vision, clap, clip, siglip, siglip2
from mmjax.interop.architectures.open_clip import model as open_clip
from mmjax.interop.architectures.text import bert, roberta, sentence_transformers
from mmjax.interop.architectures.vision import (
    dinov2,
    mobilenet,
    resnet,
    timm_vit,
    videomae,
    vit,
    vivit,
)

# The first that recognises a checkpoint builds it: a folder of sentence-transformers has a
# config.json of its text model, too, and one of open_clip's often that of transformers' CLIP.
FAMILIES = (
    sentence_transformers.FAMILY,
    open_clip.FAMILY,
    ast.FAMILY,
    bert.FAMILY,
    bert.DISTILBERT,
    big_vision.FAMILY,
    clap.FAMILY,
    clip.FAMILY,
    dinov2.FAMILY,
    roberta.FAMILY,
    siglip.FAMILY,
    siglip2.FAMILY,
    timm_vit.FAMILY,
    videomae.FAMILY,
    vit.FAMILY,
    vivit.FAMILY,
    wav2vec2.FAMILY,
    whisper.FAMILY,
    whisper_ct2.FAMILY,
    mobilenet.FAMILY,
    resemblyzer.FAMILY,
    resnet.FAMILY,
    silero.FAMILY,
)
