"""Other people's checkpoints, in and out: `load`, use as in the original library, `save`."""

from mmjax.interop.loading import Pretrained, load, save
from mmjax.interop.weights.checkpoint import open_checkpoint
from mmjax.interop.weights.recognition import architecture_name
from mmjax.interop.weights.variables import weights_of

__all__ = ["Pretrained", "architecture_name", "load", "open_checkpoint", "save", "weights_of"]
