"""One vector from the tokens of an image or a clip, as published models have it."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.layers.attention import attention, merge_heads, split_heads, split_projections
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation, shared
from mmjax.nn.layers.pooling import masked_mean

# From a backbone, its last tokens [B N D] and their mask (None: all are real), within its compact
# method, to the pooled vector [B E].
Pooling = Callable[[nn.Module, Array, Array | None], Array]


class AttentionHead(nn.Module):
    """One learned query reads all tokens, then an mlp: SigLIP's pooling (Zhai et al. 2023,
    https://arxiv.org/abs/2303.15343).

    Attributes:
        heads, mlp_width, activation, epsilon, dtype: as of the transformer.
    """

    heads: int
    mlp_width: int
    activation: str
    epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"], mask: Array | None = None) -> Float[Array, "B D"]:
        """Tokens and which are real -> one vector."""
        width = x.shape[-1]
        probe = self.param("probe", nn.initializers.normal(0.02), (1, 1, width), jnp.float32)
        probe = jnp.broadcast_to(probe.astype(self.dtype), (x.shape[0], 1, width))
        # As in PyTorch one matrix for all three, of which the query needs only its part.
        init = nn.initializers.lecun_normal()
        kernel = self.param("qkv_kernel", init, (width, 3 * width), jnp.float32)
        bias = self.param("qkv_bias", nn.initializers.zeros, (3 * width,), jnp.float32)
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        q = probe @ kernel[:, :width] + bias[:width]
        kv = x @ kernel[:, width:] + bias[width:]
        q, (k, v) = split_heads(q, self.heads), split_projections(kv, 2, self.heads)
        y = Dense(width, dtype=self.dtype, name="out")(merge_heads(attention(q, k, v, mask)))
        z = LayerNorm(self.epsilon, name="norm")(y)
        z = activation(self.activation)(Dense(self.mlp_width, dtype=self.dtype, name="mlp_in")(z))
        return (y + Dense(width, dtype=self.dtype, name="mlp_out")(z))[:, 0]


def _class(_: nn.Module, x: Array, __: Array | None) -> Array:
    return x[:, 0]


def _dense(backbone: nn.Module, x: Array, _: Array | None) -> Array:
    width = backbone.pooler_width or backbone.width
    pooler = Dense(width, dtype=backbone.dtype, name="pooler")
    return activation(backbone.pooler_activation)(pooler(x[:, 0]))


def _mean(backbone: nn.Module, x: Array, mask: Array | None) -> Array:
    x = x[:, backbone.lead :]
    return jnp.mean(x, axis=1) if mask is None else masked_mean(x, mask[:, backbone.lead :])


def _class_and_mean(backbone: nn.Module, x: Array, mask: Array | None) -> Array:
    return jnp.concatenate([x[:, 0], _mean(backbone, x, mask)], axis=-1)


def _read(backbone: nn.Module, x: Array, mask: Array | None) -> Array:
    head = AttentionHead(**shared(backbone, AttentionHead), name="head")
    lead = backbone.lead
    return head(x[:, lead:], None if mask is None else mask[:, lead:])


def _normed(pool: Pooling) -> Pooling:
    return lambda backbone, x, mask: LayerNorm(backbone.epsilon, name="norm")(
        pool(backbone, x, mask)
    )


# A mean and the attention are over the real tokens after the `lead` first ones.
POOLINGS: Mapping[str, Pooling] = {
    "attention": _read,
    "class": _class,
    "class_dense": _dense,
    "class_mean": _class_and_mean,
    "class_norm": _normed(_class),
    "mean": _mean,
    "mean_norm": _normed(_mean),
}
