"""Audio spectrogram transformer (Gong et al. 2021, https://arxiv.org/abs/2104.01778)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.backbones.audio.ast import AstBackbone, patch_grid, with_class_tokens
from mmjax.encoders.audio.waveform import augment, front_end
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import shared
from mmjax.types import Tokens


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

    def setup(self):
        self.backbone = AstBackbone(
            **shared(self, AstBackbone),
            mlp_width=int(self.width * self.mlp_ratio),
            strides=(self.stride, self.stride),
            placed=False,
            bin_by_bin=False,
            epsilon=1e-6,
        )
        nn.share_scope(self, self.backbone)

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
        x, real = front_end(self, value, mask)
        x = augment(self, x, real, deterministic)
        return self.from_log_mel(x, real, deterministic=deterministic)

    def from_log_mel(
        self,
        log_mel: Float[Array, "B T F"],
        mask: Bool[Array, "B T"],
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """The same from a log-mel spectrogram and its real frames."""
        strides = (self.stride, self.stride)
        times, bins = patch_grid(log_mel.shape[1:], self.patch_size, strides)
        real = jnp.repeat(strided_mask(mask, self.stride, times), bins, axis=1)
        real = with_class_tokens(real, self.class_tokens)
        found = self.backbone(zero_masked(log_mel, mask), real, deterministic=deterministic)
        return Tokens(zero_masked(found["last_hidden_state"], real), real)
