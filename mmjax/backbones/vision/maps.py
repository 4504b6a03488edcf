"""From and to the layouts of published networks of images and clips."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.backbones.stack import Features, TransformerBackbone
from mmjax.errors import UserError
from mmjax.nn.layers.conv_norm import NormedLayers
from mmjax.nn.layers.tubelets import TubeletEmbedding


def channels_last(pixel_values: Float[Array, "B C H W"], channels: int) -> Float[Array, "B H W C"]:
    """Raises UserError for other channels than the model's."""
    if pixel_values.shape[1] != channels:
        raise UserError(
            f"pixel_values: {pixel_values.shape[1]} channels, but the model takes {channels}:"
            " give images [B channels H W]"
        )
    return jnp.moveaxis(pixel_values, 1, 3)


class ClipBackbone(TransformerBackbone, kw_only=True):
    """A transformer over tubelets of clips.

    Attributes:
        tubelet: frames, rows and columns of a tubelet.
        clip, image_channels: T, H and W, and C, of published models.
    """

    tubelet: tuple[int, int, int]
    clip: tuple[int, int, int] | None = None
    image_channels: int = 3

    def clips_last(self, pixel_values: Float[Array, "B T C H W"]) -> Float[Array, "B _ _ _ C"]:
        """Clips without what is left after the last whole tubelet, in time, below and at the right.

        Raises:
            UserError: a clip of another size than `clip`, or of other channels.
        """
        _, frames, given, *size = pixel_values.shape
        clip, channels = self.clip, self.image_channels
        if (frames, *size) != clip or given != channels:
            found, wanted = (
                f"{t} frames of {y}x{x} and {c} channels"
                for t, y, x, c in ((frames, *size, given), (*clip, channels))
            )
            raise UserError(
                f"pixel_values: {found}, but the model takes {wanted}: sample and resize the clips"
            )
        t, y, x = (length - length % side for length, side in zip(clip, self.tubelet, strict=True))
        return jnp.moveaxis(pixel_values, 2, 4)[:, :t, :y, :x]

    def embedded(self, video: Float[Array, "B T H W C"]) -> Float[Array, "B t y x D"]:
        """The tubelets of clips.

        Raises:
            UserError: a clip that does not split into tubelets.
        """
        frames, *sides = self.tubelet
        embed = TubeletEmbedding(self.width, frames, tuple(sides), self.dtype, name="tubelets")
        return embed(video)


class MapBackbone(NormedLayers, kw_only=True):
    """A convolutional network by the names and in the layout of transformers.

    Its `run` gives maps [B h w D].

    Attributes:
        norm: "batch" (in training a row's output depends on the other real rows; running statistics
            in the collection "batch_stats"), or "group", "layer" or "none", which do not mix rows.
        image_channels: of the images of published models.
        maps: whether the outputs stay maps, [B D h w], and the pooled vector is [B D 1 1].
    """

    image_channels: int = 3
    maps: bool = False

    def __call__(
        self,
        pixel_values: Float[Array, "B C H W"],
        real: Bool[Array, " B"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """Images -> last_hidden_state [B N D], the last map row by row, and its mean pooler_output
        [B D]; the hidden states are all maps.

        `real`: whose statistics the batch norms take in training. None: those of all.

        Raises:
            UserError: images of other channels.
        """
        x = channels_last(pixel_values, self.image_channels)
        states = self.encode(x, real, deterministic=deterministic)
        last = states[-1]
        pooled = self.pooled(last)
        if self.maps:
            views = tuple(jnp.moveaxis(x, 3, 1) for x in states)
            pooled = pooled[:, :, None, None]
        else:
            views = tuple(x.reshape(x.shape[0], -1, x.shape[3]) for x in states)
        return Features(views[-1], pooled, views).named(output_hidden_states)

    def encode(
        self,
        x: Float[Array, "B H W C"],
        mask: Bool[Array, " B"] | None = None,
        *,
        deterministic: bool = True,
    ) -> list[Float[Array, "B _ _ _"]]:
        """The maps before the first stage and after each layer that gives one.

        Args:
            x: pictures; zeros where they are masked.
            mask: which pictures are real, for a batch norm. None: all are. What comes out for the
                others is finite and of no meaning.
            deterministic: False in training.

        Raises:
            UserError: an unknown norm or stem.
        """
        return self.run(x, mask, deterministic)

    def pooled(self, last: Float[Array, "B h w D"]) -> Float[Array, "B E"]:
        """One vector of the last map: its mean."""
        return jnp.mean(last, axis=(1, 2), dtype=jnp.float32).astype(last.dtype)

    def staged(
        self,
        x: Float[Array, "B H W C"],
        mask: Array | None,
        deterministic: bool,
        block: type[NormedLayers],
        stages: Iterable[tuple[int, tuple, tuple]],
    ) -> list[Float[Array, "B _ _ _"]]:
        """The map x and those after each stage; call it in `run`.

        Args:
            x, mask, deterministic: see `encode`.
            block: what a stage consists of.
            stages: of each the number of blocks, and the attributes of the first and of the others.
        """
        states, options = [x], {"norm": self.norm, "dtype": self.dtype}
        for stage, (count, first, others) in enumerate(stages):
            for place in range(count):
                name = f"stage_{stage}_block_{place}"
                made = block(*(others if place else first), **options, name=name)
                x = made(x, mask, deterministic=deterministic)
            states.append(x)
        return states
