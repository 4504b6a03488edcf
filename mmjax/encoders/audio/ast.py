"""Audio spectrogram transformer (Gong et al. 2021, https://arxiv.org/abs/2104.01778)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.backbones.audio.ast import AstBackbone, patch_grid, with_class_tokens
from mmjax.encoders.audio.waveform import AudioEncoder
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import shared
from mmjax.types import Tokens


class SpectrogramTransformer(AudioEncoder):
    """Waveforms [B S] -> a token for each patch of the spectrogram, time by time, low bins first.

    AST-base is `SpectrogramTransformer(768, layers=12, heads=12, class_tokens=2)` on 10.24 s; its
    class and distillation tokens have their positions added already.

    Attributes:
        patch_size: side of a patch: frames and mel bins.
        stride: frames and mel bins from one patch to the next.
        layers, heads, mlp_ratio, activation: of the transformer.
        class_tokens: learned tokens before the patches; real wherever a patch is.
    """

    patch_size: int = 16
    stride: int = 10
    layers: int = 4
    heads: int = 4
    mlp_ratio: float | int = 4
    activation: str = "gelu_exact"
    class_tokens: int = 0
    convention: str = "kaldi"
    mel_bins: int = 128

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

    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B N D] of the patches of a log-mel spectrogram.

        A patch is real if any of its own frames is (see `strided_mask`). A shorter waveform than
        at initialisation uses the first positions.

        Raises:
            UserError: fewer frames than a patch has, or a longer waveform than at initialisation.
        """
        strides = (self.stride, self.stride)
        times, bins = patch_grid(x.shape[1:], self.patch_size, strides)
        real = jnp.repeat(strided_mask(mask, self.stride, times), bins, axis=1)
        real = with_class_tokens(real, self.class_tokens)
        found = self.backbone(zero_masked(x, mask), real, deterministic=deterministic)
        return Tokens(zero_masked(found["last_hidden_state"], real), real)
