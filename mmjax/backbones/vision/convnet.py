"""Convolutional networks as published: ResNet and MobileNetV2."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.backbones.stack import with_states
from mmjax.backbones.vision.mobilenet import InvertedResidual
from mmjax.errors import UserError
from mmjax.nn.layers.conv_norm import ConvNorm
from mmjax.nn.layers.convolution import max_pool
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.resnet import ResidualBlock


def channels_last(pixel_values: Float[Array, "B C H W"], channels: int) -> Array:
    """[B H W C]; raises UserError for other channels than the model's."""
    if pixel_values.shape[1] != channels:
        raise UserError(
            f"pixel_values: {pixel_values.shape[1]} channels, but the model takes {channels}:"
            " give images [B channels H W]"
        )
    return jnp.moveaxis(pixel_values, 1, 3)


def outputs_of(states: list[Array], wanted: bool, *, maps: bool) -> dict[str, Any]:
    """The outputs from the map [B H W D] before the first stage, and after each.

    Args:
        states: the maps.
        wanted: whether hidden_states are.
        maps: see `ResNetTower`.
    """
    last = states[-1]
    pooled = jnp.mean(last, axis=(1, 2), dtype=jnp.float32).astype(last.dtype)
    if maps:
        views = tuple(jnp.moveaxis(x, 3, 1) for x in states)
        pooled = pooled[:, :, None, None]
    else:
        views = tuple(x.reshape(x.shape[0], -1, x.shape[3]) for x in states)
    return with_states({"last_hidden_state": views[-1], "pooler_output": pooled}, views, wanted)


class ResNetTower(nn.Module):
    """ResNet (He et al. 2016, https://arxiv.org/abs/1512.03385): a 7x7 stem, residual stages.

    pixel_values [B C H W] -> last_hidden_state [B N D], the last map row by row, and its mean
    pooler_output [B D].

    Attributes:
        stem: channels after the first convolution.
        stages: of residual blocks: their number, the stride of the first, and (side, channels of
            the output) of the convolutions of each.
        channels: C.
        maps: whether maps stay maps, [B D h w] and [B D 1 1], as in transformers.
        dtype: type of the computation; norms are in float32.
    """

    stem: int
    stages: tuple[tuple[int, int, tuple[tuple[int, int], ...]], ...]
    channels: int = 3
    maps: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        pixel_values: Float[Array, "B C H W"],
        real: Bool[Array, " B"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """`real`: whose statistics the batch norms take in training; None: those of all.

        Raises:
            UserError: images of other channels.
        """
        x = channels_last(pixel_values, self.channels)
        stem = ConvNorm(self.stem, 7, 2, dtype=self.dtype, name="stem")
        x = max_pool(stem(x, real, deterministic=deterministic), stride=2, side=3, padding=1)
        states = [x]
        for stage, (count, stride, convolutions) in enumerate(self.stages):
            for block in range(count):
                x = ResidualBlock(
                    convolutions,
                    1 if block else stride,
                    dtype=self.dtype,
                    name=f"stage_{stage}_block_{block}",
                )(x, real, deterministic=deterministic)
            states.append(x)
        return outputs_of(states, output_hidden_states, maps=self.maps)


class MobileNetTower(nn.Module):
    """MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381); see `ResNetTower`.

    Attributes:
        stem, last: channels of the first and of the last convolution.
        stages: of inverted residual blocks: their number, the stride of the first, its expansion,
            that of the others, and the channels of their outputs.
        channels, dtype: as of `ResNetTower`.
    """

    stem: int
    stages: tuple[tuple[int, int, int, int, int], ...]
    last: int
    channels: int = 3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        pixel_values: Float[Array, "B C H W"],
        real: Bool[Array, " B"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """As `ResNetTower`; the last hidden state is the map that the last convolution gives."""

        def convolve(x: Array, name: str, channels: int, side: int, stride: int) -> Array:
            conv = ConvNorm(channels, side, stride, "batch", "relu6", self.dtype, name=name)
            return conv(x, real, deterministic=deterministic)

        x = channels_last(pixel_values, self.channels)
        x = convolve(x, "stem", self.stem, 3, 2)
        states = [x]
        for stage, (count, stride, first, rest, out) in enumerate(self.stages):
            for block in range(count):
                x = InvertedResidual(
                    out,
                    rest if block else first,
                    1 if block else stride,
                    dtype=self.dtype,
                    name=f"stage_{stage}_block_{block}",
                )(x, real, deterministic=deterministic)
            states.append(x)
        states.append(convolve(x, "last", self.last, 1, 1))
        return outputs_of(states, output_hidden_states, maps=False)


class ConvClassifier(nn.Module):
    """The outputs of a tower, and logits [B classes] read off its "pooler_output".

    Attributes:
        tower: any that gives a pooled vector [B D] or map [B D 1 1].
        classes: number of them.
        dtype: type of the computation.
    """

    tower: nn.Module
    classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """Takes what the tower takes."""
        outputs = self.tower(*args, **inputs)
        x = outputs["pooler_output"]
        head = Dense(self.classes, dtype=self.dtype, name="classifier")
        logits = head(x.reshape(x.shape[0], -1))
        return {"logits": logits.astype(jnp.float32), **outputs}
