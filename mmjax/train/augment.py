"""Augmentation on the device. Every function: (key, uint8 [R H W 3]) -> the same shape and type."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, UInt8, UInt32

from mmjax.types import Batch

Key = PRNGKeyArray | UInt32[Array, "2"]
Images = UInt8[Array, "R H W 3"]


def _flip(key: Key, image: Images, axis: int) -> Images:
    chosen = jax.random.bernoulli(key, 0.5, (image.shape[0], 1, 1, 1))
    return jnp.where(chosen, jnp.flip(image, axis), image)


def flip_horizontal(key: Key, image: Images) -> Images:
    """Mirrors each image left to right with probability one half."""
    return _flip(key, image, axis=2)


def flip_vertical(key: Key, image: Images) -> Images:
    """Mirrors each image top to bottom with probability one half."""
    return _flip(key, image, axis=1)


def shift(key: Key, image: Images, *, pixels: int) -> Images:
    """Moves each image by up to `pixels` each way; what comes in repeats the edge."""
    rows, height, width, channels = image.shape
    pad = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    padded = jnp.pad(image, pad, mode="edge")
    offsets = jax.random.randint(key, (rows, 2), 0, 2 * pixels + 1)

    def crop(one, offset):
        start = (offset[0], offset[1], 0)
        return jax.lax.dynamic_slice(one, start, (height, width, channels))

    return jax.vmap(crop)(padded, offsets)


def make_augment(functions: Mapping[str, tuple[Callable, ...]]) -> Callable[[Key, Batch], Batch]:
    """(key, batch) -> batch, applying each modality's functions in order, each with its own key."""

    def augment(key, batch):
        batch = dict(batch)
        for name in sorted(functions):
            for function in functions[name]:
                key, subkey = jax.random.split(key)
                batch[name] = function(subkey, batch[name])
        return batch

    return augment
