"""Count sketches: short random summaries that keep inner products."""

import hashlib
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class Hashes(NamedTuple):
    """Where each of F features goes in a sketch of `width` places, and its sign (1 or -1)."""

    places: Int[np.ndarray, " F"]
    signs: Int[np.ndarray, " F"]
    width: int


def make_hashes(name: str, features: int, width: int, seed: int) -> Hashes:
    """Hashes that depend on the arguments alone: the same on every machine and in every version.

    Args:
        name: what is sketched; different names have independent hashes.
        features: F, number of features. More of them leave the first ones where they were.
        width: number of places.
        seed: of all names.
    """
    digest = hashlib.shake_256(f"{seed}/{name}".encode()).digest(8 * features)
    bits = np.frombuffer(digest, "<u8")
    places = (bits >> np.uint64(1)) % np.uint64(width)
    signs = 1 - 2 * (bits & np.uint64(1)).astype(np.int32)
    return Hashes(places.astype(np.int32), signs, width)


def count_sketch(x: Float[Array, "*rows F"], hashes: Hashes) -> Float[Array, "*rows W"]:
    """Each place holds the sum of sign * x over the features that are hashed to it, in float32.

    Charikar et al. 2002, https://doi.org/10.1007/3-540-45465-9_59. The inner product of two
    sketches by the same hashes has the inner product of the vectors as expectation over seeds.
    """
    places, signs, width = hashes
    # A feature's turn among those of its place. A scatter to places taken once is exact in any
    # order; one that adds is not, so its bits may differ from run to run on a GPU.
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    turns = np.empty_like(places)
    turns[order] = np.arange(len(places)) - np.searchsorted(ordered, ordered)
    most = int(turns.max()) + 1
    slots = jnp.zeros((*x.shape[:-1], width * most), jnp.float32)
    slots = slots.at[..., places * most + turns].set(
        x.astype(jnp.float32) * signs, unique_indices=True
    )
    return jnp.sum(slots.reshape(*x.shape[:-1], width, most), axis=-1)
