"""The families of published models, each with how to recognise one and how to build it."""

from mmjax.interop.families import (
    ast,
    bert,
    big_vision,
    clap,
    clip,
    dinov2,
    mobilenet,
    open_clip,
    resnet,
    roberta,
    sentence_transformers,
    siglip,
    timm_vit,
    videomae,
    vit,
    vivit,
    wav2vec2,
    whisper,
    whisper_ct2,
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
    timm_vit.FAMILY,
    videomae.FAMILY,
    vit.FAMILY,
    vivit.FAMILY,
    wav2vec2.FAMILY,
    whisper.FAMILY,
    whisper_ct2.FAMILY,
    mobilenet.FAMILY,
    resnet.FAMILY,
)
