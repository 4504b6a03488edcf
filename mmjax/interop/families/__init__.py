"""The families of published models, each with how to recognise one and how to build it."""

from mmjax.interop.families import (
    ast,
    bert,
    clip,
    dinov2,
    open_clip,
    roberta,
    sentence_transformers,
    siglip,
    timm_vit,
    vit,
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
    clip.FAMILY,
    dinov2.FAMILY,
    roberta.FAMILY,
    siglip.FAMILY,
    timm_vit.FAMILY,
    vit.FAMILY,
    whisper.FAMILY,
    whisper_ct2.FAMILY,
)
