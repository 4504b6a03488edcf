"""AST, the audio spectrogram transformer (Gong et al. 2021, https://arxiv.org/abs/2104.01778)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.backbones.stack import Features, TransformerBackbone, as_mask
from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import LearnedPositions


def patch_grid(shape: tuple[int, int], side: int, strides: tuple[int, int]) -> tuple[int, int]:
    """How many patches a spectrogram of (frames, mel bins) has along each.

    Raises:
        UserError: the spectrogram is smaller than a patch.
    """
    if side < 1 or min(strides) < 1 or min(shape) < side:
        raise UserError(
            f"patch_size: a spectrogram of {shape[0]} frames and {shape[1]} mel bins has no patch"
            f" of {side}x{side} every {strides[0]}x{strides[1]}: give longer waveforms, or choose"
            " others"
        )
    return (shape[0] - side) // strides[0] + 1, (shape[1] - side) // strides[1] + 1


def overlapping_patches(
    x: Float[Array, "B T F"], side: int, strides: tuple[int, int]
) -> Float[Array, "B t f features"]:
    """Squares of side x side cells, every so many frames and mel bins; features by frame, then by
    mel bin.

    Raises:
        UserError: the spectrogram is smaller than a patch.
    """
    times, bins = patch_grid(x.shape[1:], side, strides)
    along, up = strides
    # One matrix product over gathered patches takes half the time of a convolution on CPU.
    rows = [x[:, i : i + along * (times - 1) + 1 : along] for i in range(side)]
    x = jnp.stack(rows, axis=2)
    columns = [x[..., i : i + up * (bins - 1) + 1 : up] for i in range(side)]
    x = jnp.swapaxes(jnp.stack(columns, axis=4), 2, 3)
    return x.reshape(*x.shape[:3], side * side)


class AstBackbone(TransformerBackbone, kw_only=True):
    """input_values [B T F] -> last_hidden_state [B c+N D], pooler_output [B D] with class tokens.

    The c class tokens come first, and the pooled vector is their mean; the patches follow, time by
    time, low mel bins first.

    Attributes:
        patch_size: side of a patch, in frames and mel bins.
        strides: frames and mel bins from one patch to the next.
        class_tokens: c, learned.
        placed: whether class tokens have learned positions, too, as in the published models. Else
            they have them added already.
        bin_by_bin: whether patches are in the order of the published models: those of one band of
            mel bins side by side in time.
        size: T and F, if the positions are for no other. None: as at initialisation, or fewer.
    """

    patch_size: int = 16
    strides: tuple[int, int] = (10, 10)
    class_tokens: int = 2
    placed: bool = True
    bin_by_bin: bool = True
    size: tuple[int, int] | None = None
    epsilon: float = 1e-12

    @nn.compact
    def __call__(
        self,
        input_values: Float[Array, "B T F"],
        attention_mask: Shaped[Array, "B N"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """The mask is one of tokens, the class tokens first.

        Raises:
            UserError: a spectrogram of another size.
        """
        if self.size is not None and input_values.shape[1:] != self.size:
            frames, bins = input_values.shape[1:]
            raise UserError(
                f"input_values: {frames} frames of {bins} bins, but the model takes"
                f" {self.size[0]} of {self.size[1]}: pad or cut the spectrograms"
            )
        x = overlapping_patches(input_values.astype(self.dtype), self.patch_size, self.strides)
        x = jnp.swapaxes(x, 1, 2) if self.bin_by_bin else x
        rows = x.shape[0]
        x = Dense(self.width, dtype=self.dtype, name="patches")(x.reshape(rows, -1, x.shape[3]))
        positions = LearnedPositions(name="positions")
        x = x if self.placed else positions(x)
        if self.class_tokens:
            shape = (self.class_tokens, self.width)
            init = nn.initializers.normal(0.02)
            learned = self.param("class_tokens", init, shape, jnp.float32).astype(self.dtype)
            x = jnp.concatenate([jnp.broadcast_to(learned, (rows, *shape)), x], axis=1)
        x = positions(x) if self.placed else x
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        mask = as_mask(attention_mask)
        x, states = self.blocks().with_states(x, mask, deterministic=deterministic)
        pooled = jnp.mean(x[:, : self.class_tokens], axis=1) if self.class_tokens else None
        return Features(x, pooled, states).named(output_hidden_states)


def with_class_tokens(real: Bool[Array, "B N"], count: int) -> Bool[Array, "B n"]:
    """Which tokens are real, of class tokens and patches: a class token wherever a patch is."""
    present = jnp.any(real, axis=1, keepdims=True)
    return jnp.concatenate([jnp.broadcast_to(present, (len(real), count)), real], axis=1)
