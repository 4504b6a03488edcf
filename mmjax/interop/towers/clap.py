"""CLAP: sounds and texts in one space (Wu et al. 2022, https://arxiv.org/abs/2211.06687); sounds by
HTSAT, a Swin transformer over spectrograms (Chen et al. 2022, https://arxiv.org/abs/2202.00874)."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from mmjax.interop.towers.dual import unit
from mmjax.interop.towers.stack import layer_norm
from mmjax.interop.towers.swin import SwinStages
from mmjax.nn.batch_norm import BatchNorm
from mmjax.nn.convolve import Conv
from mmjax.nn.dense import Dense
from mmjax.nn.options import activation
from mmjax.types import UserError

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


class ClapAudioTower(nn.Module):
    """input_features [B 1 T F] -> last_hidden_state [B D f n], pooler_output [B D].

    The spectrogram is cut into as many pieces of time as make it a square, one below the other.

    Attributes:
        size: side of that square, in bins and in frames.
        bins: F.
        width: of the patches; D is it times two for each stage but the first.
        patch_size, strides: of the patches, in bins and in frames.
        patch_norm: whether they pass a norm.
        depths, heads, side, mlp_ratio, activation, epsilon, qkv_bias: see
            `mmjax.interop.towers.swin.SwinStages`.
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
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_features: Float[Array, "B channels T F"],
        is_longer: Shaped[Array, "B ..."] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """`is_longer` is what the original's preprocessing gives, and matters to models with fusion
        only, of which this is none.

        Raises:
            UserError: more frames than the model takes, or other bins.
        """
        del is_longer
        image = self.square(input_features, deterministic)[..., None]
        padding = tuple(
            ((size - stride) // 2,) * 2
            for size, stride in zip(self.patch_size, self.strides, strict=True)
        )
        x = Conv(
            self.width, self.patch_size, self.strides, padding, dtype=self.dtype, name="patches"
        )(image)
        if self.patch_norm:
            x = layer_norm(EPSILON, "patch_norm")(x).astype(self.dtype)
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
        x = layer_norm(EPSILON, "norm")(grids[-1]).astype(self.dtype)
        rows, height, width, channels = x.shape
        pieces = self.size // self.bins
        x = x.reshape(rows, pieces, height // pieces, width, channels)
        x = x.transpose(0, 4, 2, 1, 3).reshape(rows, channels, height // pieces, -1)
        outputs = {"last_hidden_state": x, "pooler_output": jnp.mean(x, axis=(2, 3))}
        if output_hidden_states:
            outputs["hidden_states"] = tuple(jnp.moveaxis(grid, 3, 1) for grid in grids)
        return outputs

    def square(self, input_features: Array, deterministic: bool) -> Float[Array, "B size size"]:
        """Normalised bins, pieces of time one below the other: frequency down, time across."""
        rows, channels, frames, bins = input_features.shape
        pieces = self.size // self.bins
        if channels != 1 or bins != self.bins or frames > pieces * self.size:
            raise UserError(
                f"input_features: {channels} channels of {frames} frames of {bins} bins, but the"
                f" model takes 1 of up to {pieces * self.size} frames of {self.bins} bins"
            )
        norm = BatchNorm(epsilon=EPSILON, name="batch_norm")
        x = norm(input_features[:, 0], deterministic=deterministic)
        if frames < pieces * self.size:
            matrix = jnp.asarray(cubic_matrix(frames, pieces * self.size))
            x = jnp.einsum("nt,btf->bnf", matrix, x, precision="highest")
        x = x.reshape(rows, pieces, self.size, bins)
        return jnp.swapaxes(x, 2, 3).reshape(rows, self.size, self.size)


class AsTokens(nn.Module):
    """A tower with its last map [B D f n] as tokens [B f*n D]; its parameters stay where they are.

    Attributes:
        tower: gives "last_hidden_state".
    """

    tower: nn.Module

    def setup(self):
        nn.share_scope(self, self.tower)

    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """Takes what the tower takes."""
        outputs = self.tower(*args, **inputs)
        x = outputs["last_hidden_state"]
        tokens = jnp.swapaxes(x.reshape(*x.shape[:2], -1), 1, 2)
        return {**outputs, "last_hidden_state": tokens}


class Projection(nn.Module):
    """Two dense layers [B D] -> [B E]; parameters "linear1", "linear2".

    Attributes:
        width: E.
        activation: between them.
        dtype: type of the computation.
    """

    width: int
    activation: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B E"]:
        x = Dense(self.width, dtype=self.dtype, name="linear1")(x)
        x = activation(self.activation)(x)
        return Dense(self.width, dtype=self.dtype, name="linear2")(x)


class ClapTower(nn.Module):
    """Embeddings of sounds and of texts, and how well each fits each.

    Attributes:
        audio, text: the towers; each gives "pooler_output".
        projection: E, the width of the projections of both.
        activation: in them.
        dtype: type of the computation.
    """

    audio: nn.Module
    text: nn.Module
    projection: int
    activation: str = "relu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_ids: Array | None = None,
        input_features: Array | None = None,
        is_longer: Array | None = None,
        attention_mask: Array | None = None,
        position_ids: Array | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """The outputs of what is given: of sounds, of texts, or of both and their logits."""
        flags = {"output_hidden_states": output_hidden_states, "deterministic": deterministic}
        found: dict[str, Any] = {}
        if input_features is not None:
            found["audio"] = self.audio(input_features, is_longer, **flags)
        if input_ids is not None:
            found["text"] = self.text(input_ids, attention_mask, position_ids=position_ids, **flags)
        outputs: dict[str, Any] = {}
        for kind, given in found.items():
            project = Projection(
                self.projection, self.activation, self.dtype, name=f"{kind}_projection"
            )
            embeds = project(given["pooler_output"]).astype(jnp.float32)
            outputs |= {f"{kind}_embeds": unit(embeds), f"{kind}_model_output": given}
        init = nn.initializers.constant(math.log(1 / 0.07))
        scales = {
            kind: jnp.exp(self.param(f"logit_scale_{kind[0]}", init, (), jnp.float32))
            for kind in ("audio", "text")
        }
        if len(found) == 2:
            cosines = outputs["audio_embeds"] @ outputs["text_embeds"].T
            outputs["logits_per_audio"] = cosines * scales["audio"]
            outputs["logits_per_text"] = cosines.T * scales["text"]
        return outputs


class ProjectedHalf(nn.Module):
    """One tower and its projection.

    Attributes:
        tower: gives "pooler_output".
        projection, activation: as of ClapTower.
        embeds: the name of the embeddings, which have any length here.
        dtype: type of the computation.
    """

    tower: nn.Module
    projection: int
    activation: str
    embeds: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """The outputs of the tower, and NAME_embeds [B E]."""
        outputs = self.tower(*args, **inputs)
        project = Projection(self.projection, self.activation, self.dtype, name="projection")
        return {self.embeds: project(outputs["pooler_output"]), **outputs}
