"""The encoder of VideoMAE (Tong et al. 2022, https://arxiv.org/abs/2203.12602)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.backbones.stack import Features
from mmjax.backbones.vision.maps import ClipBackbone
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.positions import sinusoids
from mmjax.nn.layers.tubelets import real_tubelets

# From the backbone, its last tokens and their mask: the pooled vector.
POOLINGS = {
    "first": lambda _, x, __: x[:, 0],
    "mean": lambda backbone, x, mask: backbone.normed_mean(x, mask),
}


class VideoMae(ClipBackbone, kw_only=True):
    """Normalised clips -> a token for each tubelet, of time, row and column in this order.

    A vision transformer with fixed sinusoidal positions and no class token. Its parameters are
    those of "tubelets", of the blocks block_0, block_1, ..., and of the one norm at the end.

    Attributes:
        final_norm: of the transformer.
        pooling: "first" (the first token) or "mean" (of the real tokens, then normalised: with
            final_norm=False, as in the paper's fine-tuning). None: there is no pooled vector.
        pooled_epsilon: of the norm of the mean. None: epsilon.
    """

    epsilon: float = 1e-6
    final_norm: bool = True
    pooling: str | None = None
    pooled_epsilon: float | None = None

    def __call__(
        self,
        pixel_values: Float[Array, "B T C H W"],
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """As `encode`, by the names and in the layout of transformers.

        Raises:
            UserError: a clip of another size than `clip`, or of other channels.
        """
        video = self.clips_last(pixel_values)
        return self.encode(video, deterministic=deterministic).named(output_hidden_states)

    @nn.compact
    def encode(
        self,
        video: Float[Array, "B T H W C"],
        mask: Bool[Array, "B T"] | None = None,
        *,
        visible: Bool[Array, "B N"] | None = None,
        deterministic: bool = True,
    ) -> Features:
        """Clips, and what of them is read.

        Args:
            video: the clips.
            mask: which frames are real; a tubelet is real if any of its frames is. None: all.
            visible: the tubelets that may be read; the others are as masked. None: all.
            deterministic: no dropout.

        Raises:
            UserError: an unknown option, or a clip that does not split into tubelets.
        """
        x = self.embedded(video)
        if mask is not None:
            real = real_tubelets(mask, self.tubelet[0])
            real = jnp.repeat(real, x.shape[2] * x.shape[3], axis=1)
            visible = real if visible is None else real & visible
        x = x.reshape(x.shape[0], -1, self.width)
        x = x + sinusoids(x.shape[1], self.width).astype(x.dtype)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        stack = self.blocks(None)
        nn.share_scope(self, stack)
        x, states = stack.with_states(x, visible, deterministic=deterministic)
        pooled = None
        if self.pooling is not None:
            pooled = choose(POOLINGS, self.pooling, "pooling")(self, x, visible).astype(self.dtype)
        return Features(x, pooled, states, visible)

    def normed_mean(self, x: Array, mask: Array | None) -> Float[Array, "B D"]:
        """The mean of the real tokens, normalised; called within `encode`."""
        mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
        epsilon = self.epsilon if self.pooled_epsilon is None else self.pooled_epsilon
        return LayerNorm(epsilon, name="norm")(masked_mean(x, mask)[:, None])[:, 0]
