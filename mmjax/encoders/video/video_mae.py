"""The encoder of VideoMAE (Tong et al. 2022, https://arxiv.org/abs/2203.12602)."""

from collections.abc import Mapping

import flax.linen as nn
from jaxtyping import Array, Bool

from mmjax.backbones.vision import video_mae
from mmjax.encoders.video.tubelets import TubeletEncoder
from mmjax.nn.layers.options import choose
from mmjax.types import Tokens

# Whether the one token that comes out is the mean of all.
OUTPUTS: Mapping[str, bool] = {"mean": True, "sequence": False}


class VideoMae(TubeletEncoder):
    """uint8 clips [R T H W 3] -> a token for each tubelet, of time t, row and column in this order.

    A vision transformer over tubelets with fixed sinusoidal positions and no class token; those of
    the paper have patch_size 16. Keys have a bias, which theirs have not: the softmax cancels it.

    Attributes:
        output: "sequence" (all tokens, each normalised) or "mean" (one token: the mean of the real
            tokens, then normalised, as in the paper's fine-tuning).
    """

    output: str = "sequence"

    @nn.compact
    def encode(
        self,
        x: Array,
        mask: Array,
        deterministic: bool,
        visible: Bool[Array, "R N"] | None = None,
    ) -> Tokens:
        """Tokens [R N D], or [R 1 D].

        `visible`: the tubelets that may be read, such as `random_tube_mask` gives for pretraining;
        the others are as masked. None: all of them.

        Raises:
            UserError: sizes that do not divide as the attributes say.
        """
        pooled = choose(OUTPUTS, self.output, "output")
        pooling = "mean" if pooled else None
        backbone = self.backbone(video_mae.VideoMae, final_norm=not pooled, pooling=pooling)
        found = backbone.encode(x, mask, visible=visible, deterministic=deterministic)
        return self.read(found, pooled)
