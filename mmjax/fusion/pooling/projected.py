"""What fusions of one projected vector per modality are made of."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.fusion.fusion import Fusion
from mmjax.fusion.pooling.pooled import pool_tokens
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation
from mmjax.types import Tokens

Means = Mapping[str, Float[Array, "B _"]]


def modality_means(
    tokens: Mapping[str, Tokens], drop: Callable[[Array], Array]
) -> tuple[dict[str, Float[Array, "B _"]], Bool[Array, "B M"]]:
    """The mean of each modality's real tokens, dropped, and which modalities are present."""
    means, presence = {}, []
    for name, sequence in tokens.items():
        mean, present = pool_tokens(sequence)
        means[name] = drop(mean)
        presence.append(present)
    return means, jnp.stack(presence, axis=1)


def project_each(
    means: Means,
    mask: Bool[Array, "B M"],
    width: int,
    act: Callable[[Array], Array],
    dtype: Any,
    *,
    use_bias: bool = True,
) -> Float[Array, "B M D"]:
    """act(mean @ kernel + bias) of each modality, exact zeros where it is absent.

    To be called in a compact method, whose module then holds the layers as `project_NAME`.
    """
    parts = [
        act(Dense(width, use_bias, dtype, name=f"project_{name}")(mean))
        for name, mean in means.items()
    ]
    return zero_masked(jnp.stack(parts, axis=1), mask)


class JointDense(nn.Module):
    """A dense layer over the concatenation of several vectors, one kernel block for each name.

    So a vector may be left out: it adds exactly zero, as a vector of zeros does.

    Attributes:
        features: size of the output.
        use_bias: whether a bias is added.
        dtype: type of the computation and of the output; parameters are float32.
    """

    features: int
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, vectors: Means) -> Float[Array, "B {self.features}"]:
        """The vectors, one or more -> [B features]."""
        # Each block is initialised as a part of a kernel over all of them.
        init = nn.initializers.variance_scaling(1.0 / len(vectors), "fan_in", "truncated_normal")
        parts = [
            Dense(self.features, False, self.dtype, init, name=name)(vectors[name])
            for name in sorted(vectors)
        ]
        y = functools.reduce(jnp.add, parts)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype)
        return y


class MeansFusion(Fusion):
    """A fusion of the modalities' means."""

    def means(
        self, tokens: Mapping[str, Tokens], deterministic: bool
    ) -> tuple[dict[str, Float[Array, "B _"]], Bool[Array, "B M"]]:
        """The mean of each modality, dropped, and which are present; see `modality_means`."""
        return modality_means(tokens, nn.Dropout(self.dropout, deterministic=deterministic))


class ProjectedFusion(MeansFusion, kw_only=True):
    """A fusion of the modalities' projected means.

    Attributes:
        activation: after each projection, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
    """

    activation: str = "identity"

    def projected(
        self, means: Means, mask: Bool[Array, "B M"], width: int | None = None
    ) -> Float[Array, "B M _"]:
        """activation(mean @ kernel + bias) of each modality; `width` None: D."""
        act = activation(self.activation)
        return project_each(means, mask, width or self.width, act, self.dtype)
