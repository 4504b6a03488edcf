"""What every encoder has: its width, dropout and type, and the tokens that come out."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.recurrent import OUTPUTS, Recurrent
from mmjax.nn.layers.transformer import Transformer
from mmjax.types import Tokens

# From the tokens of all steps and the mask: the tokens that come out.
READOUTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "mean": lambda x, mask: masked_mean(x, mask)[:, None],
    "sequence": lambda x, _: x,
}


def as_tokens(x: Float[Array, "B n D"], mask: Bool[Array, "B N"]) -> Tokens:
    """x with exact zeros where masked; the only one of a row is real if any of its N is."""
    real = mask if x.shape[1] == mask.shape[1] else jnp.any(mask, axis=1, keepdims=True)
    return Tokens(zero_masked(x, real), real)


class Encoder(nn.Module, kw_only=True):
    """A raw value and which of it is real -> Tokens [B N D].

    The base of the encoders of each kind of input has a method `prepared` of (the value, which of
    it is real or None, deterministic) -> (arrays, which of them is real). A subclass of it has the
    method `encode` of (these arrays, which of them is real, deterministic) -> Tokens.

    Attributes:
        width: D of the tokens.
        dropout: share dropped in training, of what enters the last dense layer, or of what enters
            and leaves the layers of a transformer or recurrent network.
        dtype: type of the computation; spectrograms, norms, softmax and recurrent states are in
            float32.
    """

    width: int = dataclasses.field(kw_only=False)
    dropout: float = 0.0
    dtype: Any = jnp.float32

    def __call__(
        self, value: Array, mask: Array | None = None, *, deterministic: bool = True, **given: Any
    ) -> Tokens:
        """The tokens of a value, with exact zeros where masked.

        Args:
            value: as of the kind of input, see `prepared`.
            mask: which of it is real. None: all is.
            deterministic: False in training.
            given: what else `encode` takes, by name.

        Raises:
            UserError: a value of another type, an unknown option, or what `encode` raises.
        """
        x, real = self.prepared(value, mask, deterministic)
        return self.encode(x, real, deterministic, **given)


class RecurrentEncoder(Encoder, kw_only=True):
    """An encoder whose tokens are the states of a recurrent network.

    Attributes:
        cell: "lstm" or "gru".
        layers: number of recurrent layers.
        bidirectional: whether half of the width reads the sequence from its end.
        output: "sequence" (a token a step) or "last" (one token; the backward half has read the
            sequence down to its first step).
    """

    cell: str = "lstm"
    layers: int = 1
    bidirectional: bool = False
    output: str = "sequence"

    def states(self, x: Array, mask: Array, drop: nn.Dropout, deterministic: bool) -> Tokens:
        """The states after the steps x [B N F], dropped; call it in a compact method.

        Raises:
            UserError: an unknown cell or output, or an odd width for two directions.
        """
        network = Recurrent(**shared(self, Recurrent), name="recurrent")
        hidden, last = network(x, mask, deterministic=deterministic)
        x, real = choose(OUTPUTS, self.output, "output")(hidden, last, mask)
        return Tokens(zero_masked(drop(x), real), real)


class BlocksEncoder(Encoder, kw_only=True):
    """An encoder whose tokens pass dropout and a transformer.

    Attributes:
        layers, heads, mlp_ratio, remat, scan: of the transformer.
        output: "sequence" (all tokens) or "mean" (one token).
    """

    layers: int = 2
    heads: int = 4
    mlp_ratio: float | int = 4
    output: str = "sequence"
    remat: bool = False
    scan: bool = False

    def blocks(
        self, x: Array, mask: Array, deterministic: bool, angles: Array | None = None
    ) -> Float[Array, "B N D"]:
        """The tokens x [B N D] after them; call it in a compact method."""
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        stack = Transformer(**shared(self, Transformer), name="transformer")
        return stack(x, mask, angles=angles, deterministic=deterministic)
