"""Forms that are linear in each of several vectors."""

import itertools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class MultilinearForm(nn.Module):
    """bias + the sum over subsets S of the vectors of (outer product of S) . kernel_S.

    With all subsets it is a linear layer over the outer product of the vectors [x; 1]: each entry
    of that product belongs to one subset. A vector of zeros adds exactly zero, so it may also be
    left out.

    The kernel of the subset {"a", "b"} is `kernel_a-b` [D_a D_b features].

    Attributes:
        features: size of the output.
        order: size of the largest subsets. 2 is a bilinear form of each pair.
        dtype: type of the computation and of the output; parameters are float32.
    """

    features: int
    order: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, vectors: Mapping[str, Float[Array, "B _"]]
    ) -> Float[Array, "B {self.features}"]:
        """The vectors, one or more -> [B features]."""
        subsets = [
            subset
            for size in range(1, min(self.order, len(vectors)) + 1)
            for subset in itertools.combinations(sorted(vectors), size)
        ]
        outers, kernels = {}, []
        for *rest, last in subsets:
            x = vectors[last].astype(self.dtype)
            if rest:
                x = outers[tuple(rest)][:, :, None] * x[:, None, :]
            outers[*rest, last] = x.reshape(x.shape[0], -1)
            # Each subset starts with an equal share of the variance.
            init = nn.initializers.variance_scaling(
                1.0 / len(subsets), "fan_in", "truncated_normal", range(len(rest) + 1)
            )
            shape = (*(vectors[name].shape[-1] for name in (*rest, last)), self.features)
            kernel = self.param(f"kernel_{'-'.join((*rest, last))}", init, shape, jnp.float32)
            kernels.append(kernel.reshape(-1, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        joint = jnp.concatenate(list(outers.values()), axis=1)
        y = joint @ jnp.concatenate(kernels).astype(self.dtype)
        return y + bias.astype(self.dtype)
