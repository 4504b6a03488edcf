"""Fusion at every depth of a stack."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.attention.sequences import SequenceFusion
from mmjax.fusion.pooling.projected import JointDense
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.transformer import Block
from mmjax.types import Fused, Tokens


class HierarchicalFusion(SequenceFusion):
    """Modalities have stacks of blocks of their own, which a state reads at each depth.

    With p_m the mean of the normed tokens of modality m after its block of depth l:

        s_l = act(W_l s_(l-1) + sum over the present m of U_ml p_m + b_l),    s_0 = 0
        pooled = V [s_1; ..; s_L] + c

    The state is the fusion cell of MFAS (Perez-Rua et al. 2019, https://arxiv.org/abs/1903.06496)
    at every depth, where they search for the depths to fuse; the sum over all depths at the end is
    the generic form of multi-level fusion and of no single paper. An absent modality adds exactly
    zero.

    Attributes:
        layers: L, number of depths.
        activation: of the states, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        heads, mlp_ratio, dropout: of the blocks; dropout also of what enters the states.
    """

    activation: str = "gelu"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns what all depths say together [B D], and the states as tokens [B layers D].

        The states are masked where no modality is present; `pooled` is then finite, made of
        biases alone.
        """
        act = activation(self.activation)
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        streams = {name: drop(self.embedded(name, tokens[name])) for name in tokens}
        masks = {name: tokens[name].mask for name in tokens}
        states = []
        for depth in range(self.layers):
            parts = {"below": states[-1]} if states else {}
            for name in tokens:
                block = Block(**self.block_options, name=f"{name}_block_{depth}")
                streams[name] = block(streams[name], masks[name], deterministic=deterministic)
                norm = LayerNorm(name=f"{name}_norm_{depth}")
                mean = masked_mean(norm(streams[name]), masks[name])
                parts[f"from_{name}"] = drop(mean.astype(self.dtype))
            states.append(
                act(JointDense(self.width, dtype=self.dtype, name=f"state_{depth}")(parts))
            )
        joint = jnp.concatenate(states, axis=1)
        pooled = Dense(self.width, dtype=self.dtype, name="combine")(joint)
        any_present = jnp.any(jnp.concatenate(list(masks.values()), axis=1), axis=1, keepdims=True)
        mask = jnp.broadcast_to(any_present, (any_present.shape[0], self.layers))
        return Fused(Tokens(zero_masked(jnp.stack(states, axis=1), mask), mask), pooled)
