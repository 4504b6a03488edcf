"""A critic of embeddings: which modality is this? Encoders learn to leave it in doubt."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.models.heads import Projection


class Critic(nn.Module):
    """Dense layers: an embedding -> one score, high for what it takes for real.

    Adversarial alignment of modalities is as in ACMR (Wang et al. 2017,
    https://doi.org/10.1145/3123266.3123326): a discriminator tells the modalities of embeddings
    apart, and the encoders fool it.

    Attributes:
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        dtype: type of the computation.
    """

    hidden: tuple[int, ...] = (64,)
    activation: str = "gelu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B E"]) -> Float[Array, " B"]:
        """Returns float32; raises UserError for an unknown activation."""
        score = Projection(1, self.hidden, self.activation, self.dtype, name="score")
        # Of a vector of length one the coordinates are small; so they have a mean square of one.
        return score(x * x.shape[-1] ** 0.5)[:, 0]


def discriminate(
    critic: nn.Module, x: Float[Array, "B E"]
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """The same scores twice: with a gradient for the critic only, and for the embeddings only.

    A discriminator's loss reads the first and a generator's the second, so that one step of one
    optimizer updates both, each by its own loss.

    Args:
        critic: a module bound to variables: embeddings [B E] -> scores [B].
        x: embeddings.
    """
    of_critic = critic(jax.lax.stop_gradient(x))
    fixed = jax.lax.stop_gradient(critic.variables)
    return of_critic, critic.clone(parent=None, name=None).apply(fixed, x)
