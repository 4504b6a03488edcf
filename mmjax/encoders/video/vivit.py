"""Video vision transformer (Arnab et al. 2021, https://arxiv.org/abs/2103.15691)."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.video.frames import normalise, real_frames, zero_frames
from mmjax.encoders.video.sizes import inner_size
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import GridPositions, LearnedPositions
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.transformer import Transformer
from mmjax.nn.layers.tubelets import TubeletEmbedding, TubeletPositions, real_tubelets
from mmjax.types import Tokens

# Whether a learned token goes in front, and what speaks for the sequence [B N D] afterwards.
SUMMARIES: Mapping[str, tuple[bool, Callable[[Array, Array], Array]]] = {
    "class": (True, lambda x, mask: zero_masked(x[:, 0], mask[:, 0])),
    "mean": (False, masked_mean),
}
OUTPUTS: Mapping[str, Callable[[Array, Array, Array], tuple[Array, Array]]] = {
    "sequence": lambda x, mask, _: (x, mask),
    "summary": lambda _, mask, summary: (summary[:, None], jnp.any(mask, 1, keepdims=True)),
}


class Stack(nn.Module):
    """A class token in front if `summary` asks for one, dropout, and a transformer.

    Attributes:
        layers, heads, mlp_ratio, dropout, dtype, remat: of the transformer.
        summary: "class" or "mean".
    """

    layers: int
    heads: int
    mlp_ratio: float | int
    dropout: float
    dtype: Any
    remat: bool
    summary: str

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], mask: Bool[Array, "B N"], deterministic: bool
    ) -> tuple[Float[Array, "B n D"], Bool[Array, "B n"], Float[Array, "B D"]]:
        """The tokens after the transformer, their mask, and the summary; n is N or N + 1."""
        class_token, summarise = choose(SUMMARIES, self.summary, "summary")
        if class_token:
            init = nn.initializers.normal(0.02)
            token = self.param("class_token", init, (1, x.shape[-1]), jnp.float32).astype(x.dtype)
            x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], *token.shape)), x], axis=1)
            mask = jnp.concatenate([jnp.any(mask, axis=1, keepdims=True), mask], axis=1)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Transformer(
            self.layers,
            self.heads,
            self.mlp_ratio,
            self.dropout,
            self.dtype,
            remat=self.remat,
            name="transformer",
        )(x, mask, deterministic=deterministic)
        return x, mask, summarise(x, mask)


def joint(
    encoder: "Vivit", x: Float[Array, "R t Y X D"], mask: Bool[Array, "R t"], deterministic: bool
) -> tuple[Array, Array, Array]:
    """The paper's model 1: attention between all tubelets of a clip."""
    rows, _, height, width, _ = x.shape
    x = TubeletPositions(name="positions")(x).reshape(rows, -1, x.shape[-1])
    tokens = jnp.repeat(mask, height * width, axis=1)
    return encoder.stack("stack")(x, tokens, deterministic)


def factorised(
    encoder: "Vivit", x: Float[Array, "R t Y X D"], mask: Bool[Array, "R t"], deterministic: bool
) -> tuple[Array, Array, Array]:
    """The paper's model 2: attention in space at each time, then between the times' summaries."""
    grid = x.shape
    x = GridPositions(name="positions")(x.reshape(-1, *grid[2:]))
    x = x.reshape(x.shape[0], -1, grid[-1])
    cells = jnp.broadcast_to(mask.reshape(-1, 1), x.shape[:2])
    _, _, summary = encoder.stack("spatial")(x, cells, deterministic)
    x = LearnedPositions(name="times")(summary.reshape(*grid[:2], grid[-1]))
    return encoder.stack("temporal", encoder.temporal_layers)(x, mask, deterministic)


MODELS: Mapping[str, Callable[..., tuple[Array, Array, Array]]] = {
    "factorised": factorised,
    "joint": joint,
}


class Vivit(nn.Module):
    """uint8 clips [R T H W 3] -> a token for each tubelet ("joint") or each time ("factorised").

    Masked frames are grey (zeros after normalisation). A tubelet is real if any of its frames is:
    it then reads its masked frames as grey. A shorter clip than at initialisation uses the first
    positions in time; for frames of another size the positions in space are interpolated. The class
    token has no position of its own, as the sum of both would be one vector.

    Attributes:
        width: D of the tokens; a last dense layer takes them there if `size` is of another width.
        patch_size: side of a tubelet in pixels; it divides H and W.
        tubelet_frames: length of a tubelet in frames; it divides T.
        model: "joint" (space-time attention over all tubelets) or "factorised" (a spatial
            transformer for each time, then a temporal one over their summaries).
        size: "Ti", "S", "B", "L" or "H": inner width, layers and heads, as of image transformers;
            the paper's ViViT-B/16x2 is size "B", patch_size 16. None: the inner width is `width`.
        layers, heads: of the joint or of the spatial transformer. None: as `size` says; without a
            size 4 and 4. The temporal transformer has as many heads.
        temporal_layers: of the temporal transformer of the factorised model.
        mlp_ratio, dropout, remat: of all transformers.
        summary: what speaks for a sequence: "class" (a learned token in front of it) or "mean"
            (of the real tokens).
        output: "sequence" (all tokens, the class token first) or "summary" (one token).
        pixel_mean, pixel_std: of the data, with pixels in 0..1, one number or one for each channel;
            what the pixels are normalised by.
        dtype: type of the computation; norms and softmax are in float32.
    """

    width: int
    patch_size: int = 8
    tubelet_frames: int = 2
    model: str = "joint"
    size: str | None = None
    layers: int | None = None
    heads: int | None = None
    temporal_layers: int = 4
    mlp_ratio: float | int = 4
    summary: str = "class"
    output: str = "sequence"
    pixel_mean: float | tuple[float, ...] = 0.5
    pixel_std: float | tuple[float, ...] = 0.5
    dropout: float = 0.0
    dtype: Any = jnp.float32
    remat: bool = False

    def __call__(
        self,
        value: Shaped[Array, "R T H W 3"],
        mask: Bool[Array, "R T"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Clips [R T H W 3] and which frames are there -> Tokens [R N D].

        Raises:
            UserError: not uint8, an unknown option, sizes that do not divide as the attributes
                say, or a longer clip than at initialisation.
        """
        pixels = normalise(value, self.dtype, self.pixel_mean, self.pixel_std)
        return self.from_pixels(pixels, mask, deterministic=deterministic)

    @nn.compact
    def from_pixels(
        self,
        pixels: Float[Array, "R T H W 3"],
        mask: Bool[Array, "R T"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """The same from normalised pixels, of which a gradient may be taken."""
        mask = real_frames(mask, pixels)
        inner, _, _ = inner_size(self.size, self.width, self.layers, self.heads)
        x = TubeletEmbedding(
            inner, self.tubelet_frames, self.patch_size, self.dtype, name="tubelets"
        )(zero_frames(pixels, mask))
        run = choose(MODELS, self.model, "model")
        found = run(self, x, real_tubelets(mask, self.tubelet_frames), deterministic)
        x, tokens = choose(OUTPUTS, self.output, "output")(*found)
        if inner != self.width:
            x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        return Tokens(zero_masked(x, tokens), tokens)

    def stack(self, name: str, layers: int | None = None) -> Stack:
        """A transformer of this encoder, within `from_pixels`; layers None: as the spatial one."""
        _, depth, heads = inner_size(self.size, self.width, self.layers, self.heads)
        return Stack(
            depth if layers is None else layers,
            heads,
            self.mlp_ratio,
            self.dropout,
            self.dtype,
            self.remat,
            self.summary,
            name=name,
        )
