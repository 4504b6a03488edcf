"""Other people's checkpoints, in and out: `load`, use as in the original library, `save`."""

from mmjax.interop.checkpoint import open_checkpoint
from mmjax.interop.loading import Pretrained, load, save
from mmjax.interop.recognition import family_of
from mmjax.interop.variables import weights_of

__all__ = ["Pretrained", "family_of", "load", "open_checkpoint", "save", "weights_of"]
