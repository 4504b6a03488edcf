"""The audio backbone of CLAP: HTSAT, a Swin transformer over spectrograms (Chen et al. 2022,
https://arxiv.org/abs/2202.00874)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.backbones.audio.clap_fusion import PARTS, ClapFusion
from mmjax.backbones.audio.swin import SwinStages
from mmjax.errors import UserError
from mmjax.nn.layers.batch_norm import BatchNorm
from mmjax.nn.layers.conv import Conv
from mmjax.nn.layers.layer_norm import LayerNorm

EPSILON = 1e-5  # of the norms outside the blocks
CUBIC = -0.75  # PyTorch's a in the cubic kernel of Keys (1981)


def cubic_matrix(given: int, wanted: int) -> Float[np.ndarray, "wanted given"]:
    """Resamples a signal to more steps: bicubic, the first and last step staying where they are.

    Steps outside are like the last ones inside. In float32 as in PyTorch, so that the fractions are
    rounded alike.
    """
    scale = np.float32(given - 1) / np.float32(max(wanted - 1, 1))
    at = np.arange(wanted, dtype=np.float32) * scale
    first = np.floor(at).astype(int)
    t = (at - first).astype(np.float32)

    def near(x: np.ndarray) -> np.ndarray:
        return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1

    def away(x: np.ndarray) -> np.ndarray:
        return ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC

    found = np.zeros((wanted, given), np.float32)
    weights = (away(t + 1), near(t), near(1 - t), away(2 - t))
    for offset, weight in zip(range(-1, 3), weights, strict=True):
        np.add.at(found, (np.arange(wanted), np.clip(first + offset, 0, given - 1)), weight)
    return found


class ClapAudioBackbone(nn.Module):
    """input_features [B 1 T F] -> last_hidden_state [B D f n], pooler_output [B D].

    The spectrogram is cut into as many pieces of time as make it a square, one below the other.
    Models with fusion take input_features [B 4 T F]: the whole of a sound, shrunk, and three parts
    of it, which count where the sound is longer than the model takes.

    Attributes:
        size: side of that square, in bins and in frames.
        bins: F.
        width: of the patches; D is it times two for each stage but the first.
        patch_size, strides: of the patches, in bins and in frames.
        patch_norm: whether they pass a norm.
        fusion: None, or the width within `mmjax.backbones.audio.clap_fusion.ClapFusion`.
        depths, heads, side, mlp_ratio, activation, epsilon, qkv_bias: see
            `mmjax.backbones.audio.swin.SwinStages`.
        dtype: type of the computation.
    """

    size: int
    bins: int
    width: int
    patch_size: tuple[int, int]
    strides: tuple[int, int]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    side: int
    mlp_ratio: float = 4.0
    activation: str = "gelu_exact"
    epsilon: float = 1e-5
    qkv_bias: bool = True
    patch_norm: bool = True
    fusion: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_features: Float[Array, "B channels T F"],
        is_longer: Shaped[Array, "R ..."] | None = None,
        real: Bool[Array, " B"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """`is_longer` [B 1] is what the original's preprocessing gives; models with fusion need it.
        `real`: whose statistics the batch norms take in training; None: those of all.

        Raises:
            UserError: more frames than the model takes, other bins, or nothing that says which
                sounds are longer.
        """
        images = self.square(input_features, real, deterministic)
        padding = tuple(
            ((size - stride) // 2,) * 2
            for size, stride in zip(self.patch_size, self.strides, strict=True)
        )
        x = Conv(
            self.width, self.patch_size, self.strides, padding, dtype=self.dtype, name="patches"
        )(images[:, 0, ..., None])
        if self.fusion is not None:
            fuse = ClapFusion(
                self.fusion,
                self.patch_size,
                self.strides,
                padding,
                self.dtype,
                name="fusion",
            )
            longer = self.longer(is_longer, len(x))
            x = fuse(x, images[:, 1:], longer, real, deterministic=deterministic)
        if self.patch_norm:
            x = LayerNorm(EPSILON, name="patch_norm")(x).astype(self.dtype)
        grids = SwinStages(
            self.depths,
            self.heads,
            self.side,
            self.mlp_ratio,
            self.activation,
            self.epsilon,
            self.qkv_bias,
            self.dtype,
            name="stages",
        )(x)
        x = LayerNorm(EPSILON, name="norm")(grids[-1]).astype(self.dtype)
        rows, height, width, channels = x.shape
        pieces = self.size // self.bins
        x = x.reshape(rows, pieces, height // pieces, width, channels)
        x = x.transpose(0, 4, 2, 1, 3).reshape(rows, channels, height // pieces, -1)
        outputs = {"last_hidden_state": x, "pooler_output": jnp.mean(x, axis=(2, 3))}
        if output_hidden_states:
            outputs["hidden_states"] = tuple(jnp.moveaxis(grid, 3, 1) for grid in grids)
        return outputs

    def longer(self, is_longer: Array | None, rows: int) -> Bool[Array, " B"]:
        """Whose parts count."""
        if is_longer is None or is_longer.size != rows:
            given = "nothing" if is_longer is None else list(is_longer.shape)
            raise UserError(
                f"is_longer: {given}, but a model with fusion needs [{rows}, 1]: which sounds are"
                " longer than it takes"
            )
        return is_longer.reshape(rows) == 1

    def square(
        self, input_features: Array, real: Array | None, deterministic: bool
    ) -> Float[Array, "B channels size size"]:
        """Normalised bins, pieces of time one below the other: frequency down, time across."""
        rows, channels, frames, bins = input_features.shape
        pieces, wanted = self.size // self.bins, 1 if self.fusion is None else 1 + PARTS
        if channels != wanted or bins != self.bins or frames > pieces * self.size:
            raise UserError(
                f"input_features: {channels} channels of {frames} frames of {bins} bins, but the"
                f" model takes {wanted} of up to {pieces * self.size} frames of {self.bins} bins"
            )
        norm = BatchNorm(epsilon=EPSILON, name="batch_norm")
        x = norm(input_features, real, deterministic=deterministic)
        if frames < pieces * self.size:
            matrix = jnp.asarray(cubic_matrix(frames, pieces * self.size))
            x = jnp.einsum("nt,bctf->bcnf", matrix, x, precision="highest")
        x = x.reshape(rows, channels, pieces, self.size, bins)
        return jnp.swapaxes(x, 3, 4).reshape(rows, channels, self.size, self.size)


class AsTokens(nn.Module):
    """A backbone with its last map [B D f n] as tokens [B f*n D], and its parameters in place.

    Attributes:
        backbone: gives "last_hidden_state".
    """

    backbone: nn.Module

    def setup(self):
        nn.share_scope(self, self.backbone)

    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """Takes what the backbone takes."""
        outputs = self.backbone(*args, **inputs)
        x = outputs["last_hidden_state"]
        tokens = jnp.swapaxes(x.reshape(*x.shape[:2], -1), 1, 2)
        return {**outputs, "last_hidden_state": tokens}
