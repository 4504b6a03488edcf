"""Modality dropout: in training an example now and then lacks a modality that it has."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool


def kept_modalities(
    key: jax.Array, present: Bool[Array, "M B"], *, rate: float
) -> Bool[Array, "M B"]:
    """Which modalities of each example stay.

    Each goes with a probability of `rate`; where all that an example has would go, one of them
    stays, drawn evenly. Neverova et al. 2016, ModDrop (https://arxiv.org/abs/1501.00102).

    Args:
        present: which modalities each example has.
        rate: from 0 to less than 1.
    """
    drop, choice = jax.random.split(key)
    kept = present & jax.random.bernoulli(drop, 1 - rate, present.shape)
    drawn = jnp.where(present, jax.random.uniform(choice, present.shape), -1.0)
    last = jax.nn.one_hot(jnp.argmax(drawn, axis=0), len(present), axis=0, dtype=bool)
    return jnp.where(kept.any(axis=0), kept, last & present)
