"""The architectures of published models, each with how to recognise one and how to build it."""

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
ARCHITECTURES = (
    sentence_transformers.SPEC,
    open_clip.SPEC,
    ast.SPEC,
    bert.SPEC,
    bert.DISTILBERT,
    big_vision.SPEC,
    clap.SPEC,
    clip.SPEC,
    dinov2.SPEC,
    roberta.SPEC,
    siglip.SPEC,
    siglip2.SPEC,
    timm_vit.SPEC,
    videomae.SPEC,
    vit.SPEC,
    vivit.SPEC,
    wav2vec2.SPEC,
    whisper.SPEC,
    whisper_ct2.SPEC,
    mobilenet.SPEC,
    resemblyzer.SPEC,
    resnet.SPEC,
    silero.SPEC,
)
