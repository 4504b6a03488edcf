"""Fusion by channel gates that all modalities set together."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.attention.sequences import join_tokens, project_tokens
from mmjax.fusion.fusion import Fusion
from mmjax.fusion.pooling.projected import JointDense
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation
from mmjax.nn.layers.pooling import masked_mean
from mmjax.types import Fused, Tokens


class MmtmFusion(Fusion):
    """x_m * 2 sigmoid(E_m z + e_m) for each modality m, with z = activation(S [s_1; ..; s_M] + b).

    s_m is the mean of the modality's real tokens (the squeeze), and its gate multiplies the
    channels of all its tokens (the excitation), as in the multimodal transfer module of Joze et
    al. 2020, https://arxiv.org/abs/1911.08670. An absent modality adds nothing to z; one alone
    sets its own gate, as in squeeze-and-excitation.

    Attributes:
        squeeze: width of z. None: half of `width`, a quarter of two modalities as in the paper.
        activation: of z, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dropout: share dropped of z.
    """

    squeeze: int | None = None
    activation: str = "relu"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the mean [B D] of the present modalities' gated means, and all gated tokens.

        With no modality present the mean is zeros. The tokens are in the order of sorted names;
        `extras["gates"]` is [B M D], zero where a modality is absent.
        """
        xs = {name: project_tokens(name, tokens[name], self.width, self.dtype) for name in tokens}
        means = {name: masked_mean(xs[name], tokens[name].mask) for name in tokens}
        squeeze = max(self.width // 2, 1) if self.squeeze is None else self.squeeze
        joint = JointDense(squeeze, dtype=self.dtype, name="squeeze")(means)
        joint = activation(self.activation)(joint)
        joint = nn.Dropout(self.dropout, deterministic=deterministic)(joint)
        gates, pooled, gated = [], [], []
        for name in tokens:
            scores = Dense(self.width, dtype=self.dtype, name=f"excite_{name}")(joint)
            gate = 2 * jax.nn.sigmoid(scores.astype(jnp.float32))
            gates.append(gate)
            gate = gate.astype(self.dtype)
            pooled.append(means[name] * gate)
            gated.append(Tokens(xs[name] * gate[:, None], tokens[name].mask))
        present = jnp.stack([jnp.any(tokens[name].mask, axis=1) for name in tokens], axis=1)
        return Fused(
            join_tokens(gated),
            masked_mean(jnp.stack(pooled, axis=1), present),
            {"gates": zero_masked(jnp.stack(gates, axis=1), present)},
        )
