"""What the transformers over tubelets of clips share."""

import flax.linen as nn

from mmjax.backbones.stack import Features
from mmjax.encoders.encoder import as_tokens
from mmjax.encoders.image.vit import SizedEncoder
from mmjax.encoders.video.frames import VideoEncoder
from mmjax.nn.layers.options import shared
from mmjax.types import Tokens


class TubeletEncoder(SizedEncoder, VideoEncoder, kw_only=True):
    """An encoder of clips by a transformer over tubelets.

    A tubelet is real if any of its frames is: it then reads its masked frames as grey.

    Attributes:
        patch_size: side of a tubelet in pixels; it divides H and W.
        tubelet_frames: length of a tubelet in frames; it divides T.
    """

    tubelet_frames: int = 2

    def backbone(self, kind: type[nn.Module], **options: object) -> nn.Module:
        """A backbone of these sizes, whose parameters are those of the encoder."""
        tubelet = (self.tubelet_frames, self.patch_size, self.patch_size)
        made = kind(**shared(self, kind) | self.inner(), tubelet=tubelet, **options)
        nn.share_scope(self, made)
        return made

    def read(self, found: Features, pooled: bool) -> Tokens:
        """All tokens that a backbone gives, or the pooled vector."""
        x = found.pooled[:, None] if pooled else found.tokens
        return as_tokens(self.project(x), found.mask)
