"""wav2vec 2.0: convolutions over the samples, and a transformer over what they give (Baevski et al.
2020, https://arxiv.org/abs/2006.11477)."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from mmjax.backbones.stack import Features, TransformerBackbone
from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation

EPSILON = 1e-5  # of the norms between the convolutions, whatever the config says of the others
LAYOUT = ("NWC", "WIO", "NWC")


def frames_of(
    samples: Int[Array | np.ndarray, " B"] | int, sizes: Sequence[int], strides: Sequence[int]
) -> Int[Array | np.ndarray, " B"] | int:
    """How many frames the convolutions make of so many samples."""
    for size, stride in zip(sizes, strides, strict=True):
        samples = (samples - size) // stride + 1
    return samples


class FeatureConvolution(nn.Module):
    """A convolution without padding, perhaps a norm, and an activation.

    Attributes:
        width: channels of the output.
        size, stride: of the window, in frames of the input.
        norm: "group" (each channel over all frames, padding included), "layer" (each frame over all
            channels) or "" (none).
        use_bias: whether the convolution has a bias.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dtype: type of the computation.
    """

    width: int
    size: int
    stride: int
    norm: str
    use_bias: bool
    activation: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N channels"], counts: Int[Array, " B"] | None = None
    ) -> Float[Array, "B n width"]:
        """Frames -> fewer frames; `counts`: of how many of these the group norm takes statistics,
        None: of all.
        """
        init = nn.initializers.lecun_normal()
        kernel = self.param("kernel", init, (self.size, x.shape[-1], self.width), jnp.float32)
        kernel = kernel.astype(self.dtype)
        x = jax.lax.conv_general_dilated(
            x.astype(self.dtype), kernel, (self.stride,), "VALID", dimension_numbers=LAYOUT
        )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
            x = x + bias.astype(self.dtype)
        if self.norm == "group":
            norm = nn.GroupNorm(
                None,
                1,
                epsilon=EPSILON,
                dtype=jnp.float32,
                use_fast_variance=False,
                name="norm",
            )
            real = None
            if counts is not None:  # of none, the statistics of the first frame are taken
                real = jnp.arange(x.shape[1]) < jnp.maximum(counts, 1)[:, None]
                real = jnp.broadcast_to(real[..., None], x.shape)
            x = norm(x, mask=real).astype(self.dtype)
        elif self.norm == "layer":
            x = LayerNorm(EPSILON, name="norm")(x).astype(self.dtype)
        return activation(self.activation)(x)


class ConvolvedPositions(nn.Module):
    """What a frame's neighbours tell of its place: a grouped convolution whose kernel has a learned
    length at each of its places (weight normalisation: Salimans and Kingma 2016,
    https://arxiv.org/abs/1602.07868).

    Attributes:
        size: of the window, in frames.
        groups: of channels, each read by itself.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dtype: type of the computation.
    """

    size: int
    groups: int
    activation: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """What is added to the frames."""
        width = x.shape[-1]
        shape = (self.size, width // self.groups, width)
        direction = self.param("direction", nn.initializers.normal(0.02), shape, jnp.float32)
        length = self.param("length", nn.initializers.ones, (self.size,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (width,), jnp.float32)
        kernel = direction * (length / jnp.sqrt(jnp.sum(direction**2, (1, 2))))[:, None, None]
        # With an even window there is one frame more behind than before.
        sides = (self.size // 2, (self.size - 1) // 2)
        x = jax.lax.conv_general_dilated(
            x,
            kernel.astype(self.dtype),
            (1,),
            (sides,),
            dimension_numbers=LAYOUT,
            feature_group_count=self.groups,
        )
        return activation(self.activation)(x + bias.astype(self.dtype))


class Wav2Vec2Backbone(TransformerBackbone, kw_only=True):
    """input_values [B S] -> last_hidden_state [B N D] and extract_features [B N C].

    Attributes:
        channels, sizes, strides: of each convolution, the last C channels; sizes and strides in
            frames of its input, of the first in samples.
        convolution_norm: "group" (the first has one) or "layer" (each has).
        convolution_bias: whether they have biases.
        convolution_activation: of all convolutions.
        positions, groups: frames and groups of the convolution for places.
        stable: pre-norm blocks; else post-norm ones.
        replaced: whether there is a vector to put in the place of frames, of the training.
    """

    channels: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    positions: int
    groups: int
    convolution_norm: str = "group"
    convolution_bias: bool = False
    convolution_activation: str = "gelu_exact"
    stable: bool = False
    replaced: bool = True

    @nn.compact
    def __call__(
        self,
        input_values: Float[Array, "B S"],
        attention_mask: Shaped[Array, "B S"] | None = None,
        mask_time_indices: Shaped[Array, "B N"] | None = None,
        lengths: Int[Array, " B"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """The mask is one of samples, with padding on the right; frames that are not wholly of real
        samples are masked. `mask_time_indices` are frames to put a learned vector in the place of.

        The original has no `lengths`, the samples of each sound. With them each is read as if it
        were alone and nothing followed it, whatever stands in the batch. With the mask that is so
        but for convolutions with a group norm, whose statistics are of the padding, too; without
        either, the padding is read.

        Raises:
            UserError: a sound too short for one frame, frames to replace without a vector, or
                lengths beside a mask.
        """
        if lengths is not None and attention_mask is not None:
            raise UserError("give lengths or attention_mask, not both")
        x = self.features(input_values, lengths)
        x = LayerNorm(self.epsilon, name="feature_norm")(x).astype(self.dtype)
        outputs = {"extract_features": x}
        x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        if self.replaced:
            token = self.param("masked", nn.initializers.uniform(1.0), (self.width,), jnp.float32)
            if mask_time_indices is not None:
                x = jnp.where(mask_time_indices[..., None] != 0, token.astype(self.dtype), x)
        elif mask_time_indices is not None:
            raise UserError("mask_time_indices: this model has no vector to put there")
        given = {"lengths": lengths, "attention_mask": attention_mask}
        mask = real_frames(self, given, x.shape[1])
        if mask is not None:
            x = jnp.where(mask[..., None], x, jnp.zeros((), self.dtype))
        x = x + ConvolvedPositions(
            self.positions,
            self.groups,
            self.convolution_activation,
            self.dtype,
            name="positions",
        )(x)
        norm = LayerNorm(self.epsilon, name="norm")
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x if self.stable else norm(x))
        place = "pre" if self.stable else "post"
        blocks = self.blocks("blocks", norm=place, final_norm=False)
        _, states = blocks.with_states(x, mask, deterministic=deterministic)
        last = norm(states[-1]).astype(self.dtype) if self.stable else states[-1]
        return outputs | Features(last, None, states).named(output_hidden_states)

    def features(
        self, input_values: Array, counts: Int[Array, " B"] | None
    ) -> Float[Array, "B N C"]:
        """What the convolutions make of the samples, of which each sound has so many."""
        samples = input_values.shape[1]
        if frames_of(samples, self.sizes, self.strides) < 1:
            raise UserError(f"input_values: {samples} samples are too few for one frame: pad them")
        x = input_values[..., None]
        shapes = zip(self.channels, self.sizes, self.strides, strict=True)
        for layer, (width, size, stride) in enumerate(shapes):
            normed = layer == 0 or self.convolution_norm == "layer"
            counts = None if counts is None else frames_of(counts, (size,), (stride,))
            x = FeatureConvolution(
                width,
                size,
                stride,
                self.convolution_norm if normed else "",
                self.convolution_bias,
                self.convolution_activation,
                self.dtype,
                name=f"convolution_{layer}",
            )(x, counts)
        return x

    def least(self) -> int:
        """The fewest samples that give a frame."""
        count = 1
        for size, stride in zip(reversed(self.sizes), reversed(self.strides), strict=True):
            count = (count - 1) * stride + size
        return count


def real_frames(
    backbone: Wav2Vec2Backbone, inputs: Mapping[str, Any], count: int
) -> Bool[Array, "B N"] | None:
    """Which of `count` frames are wholly of the samples that each waveform has; None: all are."""
    lengths, mask = inputs.get("lengths"), inputs.get("attention_mask")
    if mask is not None:
        lengths = jnp.sum(mask != 0, axis=1)
    if lengths is None:
        return None
    return jnp.arange(count) < frames_of(lengths, backbone.sizes, backbone.strides)[:, None]
