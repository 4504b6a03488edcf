"""Video vision transformer (Arnab et al. 2021, https://arxiv.org/abs/2103.15691)."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.backbones.stack import Features, as_mask
from mmjax.backbones.vision.maps import ClipBackbone
from mmjax.backbones.vision.pooling import POOLINGS
from mmjax.nn.layers.embedding import GridPositions, LearnedPositions
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.nn.layers.transformer import Transformer
from mmjax.nn.layers.tubelets import TubeletPositions, real_tubelets


class Sequence(nn.Module):
    """A class token in front if there is one, dropout, and a transformer.

    Attributes:
        class_token: whether there is one.
        options: of the transformer.
    """

    class_token: bool
    options: Mapping[str, Any]

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        mask: Bool[Array, "B _"] | None,
        deterministic: bool,
        place: Float[Array, "1 D"] | None = None,
    ) -> Features:
        """The tokens after the transformer, N or N + 1, without a pooled vector.

        Args:
            x: the tokens.
            mask: of the N tokens (the class token is real if any of them is), or of all N + 1.
                None: all are real.
            deterministic: no dropout.
            place: the position of the class token.
        """
        if self.class_token:
            init = nn.initializers.normal(0.02)
            token = self.param("class_token", init, (1, x.shape[-1]), jnp.float32)
            token = (token if place is None else token + place).astype(x.dtype)
            x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], *token.shape)), x], axis=1)
            if mask is not None and mask.shape[1] < x.shape[1]:
                mask = jnp.concatenate([jnp.any(mask, axis=1, keepdims=True), mask], axis=1)
        x = nn.Dropout(self.options["dropout"], deterministic=deterministic)(x)
        stack = Transformer(**self.options, name="transformer")
        x, states = stack.with_states(x, mask, deterministic=deterministic)
        return Features(x, None, states, mask)


def joint(
    backbone: "Vivit", x: Array, mask: Array | None, tokens: Array | None, deterministic: bool
) -> Features:
    """The paper's model 1: attention between all tubelets of a clip."""
    rows, *grid, width = x.shape
    place, cells = None, grid[0] * grid[1] * grid[2]
    if backbone.clip is None:
        x = TubeletPositions(name="positions")(x)
    else:
        shape = (backbone.lead + cells, width)
        table = backbone.param("positions", nn.initializers.normal(0.02), shape, jnp.float32)
        place = table[:1] if backbone.class_token else None
        x = x + table[backbone.lead :].reshape(*grid, width).astype(x.dtype)
    if mask is not None:
        tokens = jnp.repeat(mask, grid[1] * grid[2], axis=1)
    stack = backbone.sequence("stack", backbone.layers)
    return stack(x.reshape(rows, cells, width), tokens, deterministic, place)


def factorised(
    backbone: "Vivit", x: Array, mask: Array | None, _: Array | None, deterministic: bool
) -> Features:
    """The paper's model 2: attention in space at each time, then between the times' summaries."""
    grid = x.shape
    mask = jnp.ones(grid[:2], bool) if mask is None else mask
    x = GridPositions(name="positions")(x.reshape(-1, *grid[2:]))
    x = x.reshape(x.shape[0], -1, grid[-1])
    cells = jnp.broadcast_to(mask.reshape(-1, 1), x.shape[:2])
    found = backbone.sequence("spatial", backbone.layers)(x, cells, deterministic)
    pool = POOLINGS["class" if backbone.class_token else "mean"]
    summary = zero_masked(pool(backbone, found.tokens, found.mask), mask.reshape(-1))
    x = LearnedPositions(name="times")(summary.reshape(*grid[:2], grid[-1]))
    return backbone.sequence("temporal", backbone.temporal_layers)(x, mask, deterministic)


MODELS: Mapping[str, Callable[..., Features]] = {"factorised": factorised, "joint": joint}


class Vivit(ClipBackbone, kw_only=True):
    """Normalised clips -> a token for each tubelet ("joint") or for each time ("factorised"), after
    the class token if there is one.

    Attributes:
        model: "joint" (space-time attention over all tubelets) or "factorised" (a spatial
            transformer for each time, then a temporal one over their summaries: the class token, or
            the mean of the real tokens).
        temporal_layers: of the temporal transformer of the factorised model, which has the other
            options of the spatial one.
        class_token: whether a learned token goes in front of each sequence.
        clip: T, H and W, of published models. With it, the positions of the joint model are one
            table [tokens D], of which the first is that of the class token. None: it has none, and
            the positions are of the clip at initialisation; a shorter clip uses the first times,
            and for frames of another size they are interpolated.
        pooling: a name in `mmjax.backbones.vision.pooling.POOLINGS`. None: there is no pooled
            vector.
        pooler_width, pooler_activation: of the "class_dense" pooling. None: D.
    """

    activation: str = "gelu"
    epsilon: float = 1e-6
    model: str = "joint"
    temporal_layers: int = 4
    class_token: bool = True
    pooling: str | None = None
    pooler_width: int | None = None
    pooler_activation: str = "tanh"

    @property
    def lead(self) -> int:
        """Number of tokens before the others."""
        return int(self.class_token)

    def __call__(
        self,
        pixel_values: Float[Array, "B T C H W"],
        attention_mask: Shaped[Array, "B N"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """As `encode`, by the names and in the layout of transformers; the mask is one of tokens.

        Raises:
            UserError: a clip of another size than `clip`, or of other channels.
        """
        video = self.clips_last(pixel_values)
        tokens = as_mask(attention_mask)
        found = self.encode(video, tokens=tokens, deterministic=deterministic)
        return found.named(output_hidden_states)

    @nn.compact
    def encode(
        self,
        video: Float[Array, "B T H W C"],
        mask: Bool[Array, "B T"] | None = None,
        *,
        tokens: Bool[Array, "B N"] | None = None,
        deterministic: bool = True,
    ) -> Features:
        """Clips, and what of them is real.

        Args:
            video: the clips.
            mask: which frames are real; a tubelet is real if any of its frames is. None: all.
            tokens: without `mask`, which tokens of the joint model are, the class token included.
            deterministic: no dropout.

        Raises:
            UserError: an unknown option, a clip that does not split into tubelets, or a longer one
                than at initialisation.
        """
        run = choose(MODELS, self.model, "model")
        x = self.embedded(video)
        mask = None if mask is None else real_tubelets(mask, self.tubelet[0])
        found = run(self, x, mask, tokens, deterministic)
        if self.pooling is None:
            return found
        pool = choose(POOLINGS, self.pooling, "pooling")
        return found._replace(pooled=pool(self, found.tokens, found.mask).astype(self.dtype))

    def sequence(self, name: str, layers: int) -> Sequence:
        """A transformer of this backbone, within `encode`."""
        return Sequence(self.class_token, shared(self, Transformer) | {"layers": layers}, name=name)
