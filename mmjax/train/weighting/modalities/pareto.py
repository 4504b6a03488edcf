"""MMPareto: the gradient of all modalities together, and of each alone, on its encoder."""

import jax
import jax.numpy as jnp
import optax

from mmjax.train.weighting.gradients.gram import Gram, Weights, combine, gram, number_of
from mmjax.train.weighting.gradients.minimum_norm import mgda_weights
from mmjax.train.weighting.modalities.modulation import modality_of


def mmpareto(*, modalities: tuple[str, ...], gamma: float = 1.5) -> optax.GradientTransformation:
    """MMPareto: in each encoder the gradient of all modalities and of that one alone are combined.

    Its input are gradients [tasks + M ...]: the last M of the loss of each modality alone, the ones
    before of all together, which are summed. If both, g and u, do not conflict, the direction is
    h = g + u, else twice their shortest convex combination; it is never shorter than g + u, and
    then gamma times as long. All else gets the sum of all gradients. Wei & Hu 2024
    (https://arxiv.org/abs/2405.17730), with norms over an encoder as there, not over each of its
    arrays as in the authors' code. Where one of both is 0, as of an absent modality, the other is
    the sum.

    Args:
        modalities: names of all encoders, in the order of the last M gradients.
        gamma: the factor of encoders' gradients.
    """
    count = len(modalities)

    def update(updates, state, params=None):
        del params
        tasks = number_of(updates) - count
        if tasks < 1:
            raise ValueError(
                f"mmpareto needs gradients of a task and of {count} modalities, got those of"
                f" {tasks + count}"
            )
        leaves, form = jax.tree_util.tree_flatten_with_path(updates)
        places = [modality_of(path, modalities) for path, _ in leaves]
        found = [x.sum(axis=0) for _, x in leaves]
        for number in range(count):
            own = [i for i, place in enumerate(places) if place == number]
            if own:
                pairs = [_pair(leaves[i][1], tasks, tasks + number) for i in own]
                together = combine(pair_weights(gram(pairs), gamma), pairs)
                for i, value in zip(own, together, strict=True):
                    found[i] = value
        return jax.tree.unflatten(form, found), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def _pair(x: jax.Array, tasks: int, alone: int) -> jax.Array:
    return jnp.stack([x[:tasks].sum(axis=0), x[alone]])


def pair_weights(products: Gram, gamma: float) -> Weights:
    """The weights [2] of both gradients, by their inner products [2 2]."""
    agree = products[0, 1] >= 0
    weights = 2 * jnp.where(agree, 0.5, mgda_weights(products))
    length, both = weights @ products @ weights, products.sum()
    # Of opposite gradients h is 0 as far as float32 goes, and has no direction to be longer in.
    moving = length > 1e-6 * jnp.trace(products)
    longer = jnp.sqrt(jnp.maximum(both, 0.0) / jnp.where(moving, length, 1.0))
    weights = weights * gamma * jnp.where(moving, jnp.maximum(longer, 1.0), 1.0)
    return jnp.where(jnp.isfinite(products).all(), weights, jnp.nan)
