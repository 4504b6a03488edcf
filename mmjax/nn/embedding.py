"""Vectors for words, patches and places."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.nn.dense import Dense
from mmjax.nn.masking import zero_masked
from mmjax.types import UserError


class WordEmbedding(nn.Module):
    """A vector for each word, exact zeros where masked.

    A real id outside the vocabulary gives NaN, so that it is noticed; a masked one is never read.

    Attributes:
        vocabulary_size: V, number of ids.
        width: D of the vectors.
        embedding_init: initialiser of the table [V D].
        dtype: type of the output.
    """

    vocabulary_size: int
    width: int
    embedding_init: Any = nn.initializers.normal(0.02)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, ids: Int[Array, "B L"], mask: Bool[Array, "B L"]) -> Float[Array, "B L D"]:
        shape = (self.vocabulary_size, self.width)
        table = self.param("embedding", self.embedding_init, shape, jnp.float32)
        rows = jnp.take(table.astype(self.dtype), jnp.where(mask, ids, 0), axis=0)
        return zero_masked(rows, mask)


class LearnedPositions(nn.Module):
    """Adds a learned vector to each place of a sequence.

    The table has as many places as the sequence at initialisation; a shorter sequence uses the
    first ones.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        length, width = x.shape[1:]
        places = length
        if self.has_variable("params", "embedding"):
            places = self.get_variable("params", "embedding").shape[0]
        if length > places:
            raise UserError(
                f"{'/'.join(self.path)}: a sequence of {length} tokens, but the model was made for"
                f" {places}: shorten the input or initialise with the longest one"
            )
        init = nn.initializers.normal(0.02)
        table = self.param("embedding", init, (places, width), jnp.float32)
        return x + table[:length].astype(x.dtype)


class GridPositions(nn.Module):
    """Adds a learned vector to each cell of a grid whose size is fixed at initialisation."""

    @nn.compact
    def __call__(self, x: Float[Array, "B Y X D"]) -> Float[Array, "B Y X D"]:
        shape = x.shape[1:]
        if self.has_variable("params", "embedding"):
            made = self.get_variable("params", "embedding").shape
            if made != shape:
                raise UserError(
                    f"{'/'.join(self.path)}: a grid of {shape[0]}x{shape[1]} patches, but the model"
                    f" was made for {made[0]}x{made[1]}: resize the images"
                )
        init = nn.initializers.normal(0.02)
        return x + self.param("embedding", init, shape, jnp.float32).astype(x.dtype)


def fold_patches(
    image: Float[Array, "B H W channels"], side: int
) -> Float[Array, "B Y X features"]:
    """Each square of side x side pixels becomes one cell with side * side * channels features.

    Features are in the order row in the square, column in the square, channel.

    Raises:
        UserError: the picture does not split into such squares.
    """
    batch, height, width, channels = image.shape
    if side < 1 or height % side or width % side:
        raise UserError(
            f"patch_size: {height}x{width} does not split into patches of {side}x{side}:"
            " resize the images or choose a patch_size that divides both sides"
        )
    patches = image.reshape(batch, height // side, side, width // side, side, channels)
    patches = jnp.swapaxes(patches, 2, 3)
    return patches.reshape(*patches.shape[:3], side * side * channels)


class PatchEmbedding(nn.Module):
    """Cuts a picture into square patches and projects each (Dosovitskiy et al. 2021, ViT).

    The same function as a convolution whose stride is its size, and faster on CPU.

    Attributes:
        width: D of a patch's vector.
        patch_size: side of a patch in pixels.
        dtype: type of the computation.
    """

    width: int
    patch_size: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "B H W channels"]) -> Float[Array, "B Y X D"]:
        patches = fold_patches(image, self.patch_size)
        return Dense(self.width, dtype=self.dtype, name="projection")(patches)
