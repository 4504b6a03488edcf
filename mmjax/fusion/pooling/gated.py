"""The gated multimodal unit."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.fusion.pooling.projected import (
    JointDense,
    MeansFusion,
    project_each,
)
from mmjax.nn.layers.masking import zero_masked
from mmjax.types import Fused, Tokens


class GatedFusion(MeansFusion):
    """Gated multimodal unit: each modality has a gate for each feature, which all of them set
    (Arevalo et al. 2017, https://arxiv.org/abs/1702.01992).

    sum_i z_i * tanh(V_i mean_i), with gates z_i in 0..1 for each feature. The paper has two forms;
    the number of modalities at initialisation decides:

        two:    z_1 = sigmoid(W [mean_1; mean_2]), z_2 = 1 - z_1, in the order of sorted names
        other:  z_i = sigmoid(W_i [mean_1; ..; mean_M])

    As in the paper, no layer has a bias. An absent modality is a vector of zeros to the gates of
    the others. Of two, the one that is present alone has the gate one.

    """

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the gated sum [B D] (zeros with no modality present), and its terms as tokens.

        `tokens` of the result is [B M D] by sorted name, masked where a modality is absent;
        `extras["gates"]` is [B M D], zero where a modality is absent.
        """
        means, mask = self.means(tokens, deterministic)
        x = project_each(means, mask, self.width, jnp.tanh, self.dtype, use_bias=False)
        initialised_for_two = self.has_variable("params", "gate")
        if initialised_for_two or (self.is_initializing() and len(means) == 2):
            gates = self._complementary_gates(means, mask)
        else:
            gates = jnp.stack([self._gate(means, f"gate_{name}") for name in means], axis=1)
        gates = zero_masked(gates, mask)
        x = gates.astype(x.dtype) * x
        return Fused(Tokens(x, mask), jnp.sum(x, axis=1), {"gates": gates})

    def _gate(self, means: Mapping[str, Float[Array, "B _"]], name: str) -> Float[Array, "B D"]:
        dense = JointDense(self.width, use_bias=False, dtype=self.dtype, name=name)
        return jax.nn.sigmoid(dense(means).astype(jnp.float32))

    def _complementary_gates(
        self, means: Mapping[str, Float[Array, "B _"]], mask: Bool[Array, "B M"]
    ) -> Float[Array, "B M D"]:
        gate = self._gate(means, "gate")
        both = jnp.sum(mask, axis=1) == 2
        # With one modality left out of the mapping, only the ones below are used.
        gates = jnp.stack([gate, 1.0 - gate], axis=1)[:, : len(means)]
        return jnp.where(both[:, None, None], gates, 1.0)
