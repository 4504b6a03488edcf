"""Transformer over patches of a time series (PatchTST, Nie et al. 2023,
https://arxiv.org/abs/2211.14730)."""

import flax.linen as nn
from jaxtyping import Array

from mmjax.encoders.encoder import READOUTS, BlocksEncoder, as_tokens
from mmjax.encoders.series.steps import fold_steps
from mmjax.encoders.vector.features import FeatureEncoder
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.positions import place
from mmjax.types import Tokens


class SeriesTransformer(BlocksEncoder, FeatureEncoder):
    """float32 series [B T F] -> a token for each patch of steps: transformer(dense(patches)).

    A patch holds all features of its steps (PatchTST runs over each feature alone, with
    overlapping patches). It is real if any of its steps is; its masked steps are zeros.

    Attributes:
        patch: number of steps in a patch.
        positions: "learned", "sincos", "rotary" or "none"; see `mmjax.nn.layers.positions.place`.
    """

    patch: int = 8
    positions: str = "learned"

    @nn.compact
    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B N D], N = ceil(T / patch), or N = 1.

        Raises:
            UserError: a longer series than learned positions were made for at initialisation.
        """
        choose_output = choose(READOUTS, self.output, "output")
        x, mask = fold_steps(x, mask, self.patch)
        x = Dense(self.width, dtype=self.dtype, name="patches")(x)
        x, angles = place(x, self.positions, self.heads)
        return as_tokens(choose_output(self.blocks(x, mask, deterministic, angles), mask), mask)
