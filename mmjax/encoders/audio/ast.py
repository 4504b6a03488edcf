"""Audio spectrogram transformer (Gong et al. 2021, https://arxiv.org/abs/2104.01778)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.audio.waveform import augment, hear
from mmjax.errors import UserError
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import LearnedPositions
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.transformer import Transformer
from mmjax.types import Tokens


def overlapping_patches(
    x: Float[Array, "B T F"], side: int, stride: int
) -> Float[Array, "B t f features"]:
    """Squares of side x side cells every `stride` cells; features by frame, then by mel bin.

    Raises:
        UserError: the spectrogram is smaller than a patch.
    """
    if side < 1 or stride < 1 or min(x.shape[1:]) < side:
        raise UserError(
            f"patch_size: a spectrogram of {x.shape[1]} frames and {x.shape[2]} mel bins has no"
            f" patch of {side}x{side} every {stride}: give longer waveforms, or choose others"
        )
    # One matrix product over gathered patches takes half the time of a convolution on CPU.
    times, bins = ((size - side) // stride + 1 for size in x.shape[1:])
    rows = [x[:, i : i + stride * (times - 1) + 1 : stride] for i in range(side)]
    x = jnp.stack(rows, axis=2)
    columns = [x[..., i : i + stride * (bins - 1) + 1 : stride] for i in range(side)]
    x = jnp.swapaxes(jnp.stack(columns, axis=4), 2, 3)
    return x.reshape(*x.shape[:3], side * side)


class SpectrogramTransformer(nn.Module):
    """Waveforms [B S] -> a token for each patch of the spectrogram, time by time, low bins first.

    AST-base is `SpectrogramTransformer(768, layers=12, heads=12, class_tokens=2)` on 10.24 s; its
    class and distillation tokens have their positions added already.

    Attributes:
        width: D of the tokens.
        patch_size: side of a patch: frames and mel bins.
        stride: frames and mel bins from one patch to the next.
        layers, heads, mlp_ratio, dropout, activation: of the transformer.
        class_tokens: learned tokens before the patches; real wherever a patch is.
        convention, sample_rate, mel_bins: of the spectrogram; see
            `mmjax.nn.audio.spectrogram.log_mel`.
        spec_augment: mapping of options of `mmjax.nn.audio.spec_augment.spec_augment`, used in
            training.
            None: no SpecAugment.
        dtype: type of the computation; spectrogram, norms and softmax are in float32.
    """

    width: int
    patch_size: int = 16
    stride: int = 10
    layers: int = 4
    heads: int = 4
    mlp_ratio: float | int = 4
    activation: str = "gelu_exact"
    class_tokens: int = 0
    convention: str = "kaldi"
    sample_rate: int = 16_000
    mel_bins: int = 128
    spec_augment: Any = None
    dropout: float = 0.0
    dtype: Any = jnp.float32

    def __call__(
        self,
        value: Shaped[Array, "B S"],
        mask: Bool[Array, "B S"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Waveforms [B S] and which samples are real -> Tokens [B N D].

        A patch is real if any of its own frames is (see `strided_mask`). A shorter waveform than
        at initialisation uses the first positions.

        Raises:
            UserError: not float32, an unknown option, fewer frames than a patch has, or a longer
                waveform than at initialisation.
        """
        x, real = hear(self, value, mask)
        x = augment(self, x, real, deterministic)
        return self.from_log_mel(x, real, deterministic=deterministic)

    @nn.compact
    def from_log_mel(
        self,
        log_mel: Float[Array, "B T F"],
        mask: Bool[Array, "B T"],
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """The same from a log-mel spectrogram and its real frames."""
        x = zero_masked(log_mel, mask).astype(self.dtype)
        x = overlapping_patches(x, self.patch_size, self.stride)
        batch, times, bins, _ = x.shape
        real = jnp.repeat(strided_mask(mask, self.stride, times), bins, axis=1)
        x = Dense(self.width, dtype=self.dtype, name="patches")(x.reshape(batch, times * bins, -1))
        x = LearnedPositions(name="positions")(x)
        if self.class_tokens:
            shape = (self.class_tokens, self.width)
            init = nn.initializers.normal(0.02)
            learned = self.param("class_tokens", init, shape, jnp.float32).astype(self.dtype)
            x = jnp.concatenate([jnp.broadcast_to(learned, (batch, *shape)), x], axis=1)
            present = jnp.any(real, axis=1, keepdims=True)
            present = jnp.broadcast_to(present, (batch, self.class_tokens))
            real = jnp.concatenate([present, real], axis=1)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Transformer(
            self.layers,
            self.heads,
            self.mlp_ratio,
            self.dropout,
            self.dtype,
            activation=self.activation,
            name="transformer",
        )(x, real, deterministic=deterministic)
        return Tokens(zero_masked(x, real), real)
