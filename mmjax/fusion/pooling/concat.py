"""Late fusion by concatenation."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.fusion import Fusion
from mmjax.fusion.pooling.pooled import pool_tokens
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation
from mmjax.types import Fused, Tokens


class ConcatFusion(Fusion):
    """activation(concat(mean of each modality, by sorted name) @ kernel + bias).

    The kernel is kept as one block per modality, `project_NAME/kernel` [D_NAME width], so a model
    also runs on fewer modalities than it was made with: an absent one adds exactly zero.

    Attributes:
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
    """

    activation: str = "gelu"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the fused vector [B D], and one token for each modality.

        `tokens` of the result is [B M D] by sorted name: what each modality adds before bias and
        activation, masked where it is absent. With no modality present, `pooled` is
        activation(bias).
        """
        # One kernel over all modalities would have their joint width as fan-in.
        init = nn.initializers.variance_scaling(1.0 / len(tokens), "fan_in", "truncated_normal")
        parts, presence = [], []
        for name in tokens:
            mean, present = pool_tokens(tokens[name])
            mean = nn.Dropout(self.dropout, deterministic=deterministic)(mean)
            project = Dense(self.width, False, self.dtype, init, name=f"project_{name}")
            parts.append(project(mean))
            presence.append(present)
        mask = jnp.stack(presence, axis=1)
        x = zero_masked(jnp.stack(parts, axis=1), mask)
        bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        pooled = activation(self.activation)(jnp.sum(x, axis=1) + bias.astype(self.dtype))
        return Fused(Tokens(x, mask), pooled)
