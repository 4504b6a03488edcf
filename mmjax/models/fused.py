"""The model of tasks that answer about everything an example has: encoders -> fusion -> heads."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmjax.types import Input, Tokens, UserError


def share_rows(tokens: Tokens, index: Int[Array, " B"] | None) -> Tokens:
    """Tokens of R rows -> tokens of B examples; example i takes row index[i]. None: row i."""
    if index is None:
        return tokens
    return Tokens(jnp.take(tokens.x, index, axis=0), jnp.take(tokens.mask, index, axis=0))


def encode(
    encoders: Mapping[str, nn.Module], inputs: Mapping[str, Input], *, deterministic: bool
) -> dict[str, Tokens]:
    """The tokens of each input by sorted name, one row for each example.

    An encoder runs once for each row of its input, however many examples share the row.

    Raises:
        UserError: an input that no encoder takes, or none at all.
    """
    unknown = sorted(set(inputs) - set(encoders))
    if unknown or not inputs:
        raise UserError(
            f"model inputs: {f'no encoder for {unknown}' if unknown else 'none given'}:"
            f" give one or more of {sorted(encoders)}"
        )
    tokens = {}
    for name in sorted(inputs):
        value, mask, index = inputs[name]
        encoded = encoders[name](value, mask, deterministic=deterministic)
        tokens[name] = share_rows(encoded, index)
    return tokens


class FusedModel(nn.Module):
    """Encoders, a fusion and heads, each injected: it names no modality and no task.

    A modality that a whole batch lacks may be left out of the inputs or be masked in every row;
    initialise with all of them.

    Attributes:
        encoders: by modality: (value, mask, *, deterministic) -> Tokens.
        fusion: (tokens by modality, *, deterministic) -> Fused.
        heads: by output: (fused, *, deterministic) -> array with a leading axis B.
    """

    encoders: Mapping[str, nn.Module]
    fusion: nn.Module
    heads: Mapping[str, nn.Module]

    @nn.compact
    def __call__(
        self, inputs: Mapping[str, Input], *, deterministic: bool = True
    ) -> dict[str, Float[Array, "B ..."]]:
        """The output of each head, and the fusion's extras as "fusion/NAME"; float32.

        An encoder runs once for each row of its input, however many examples share the row.

        Raises:
            UserError: an input that no encoder takes, none at all, or what the parts raise.
        """
        tokens = encode(self.encoders, inputs, deterministic=deterministic)
        fused = self.fusion(tokens, deterministic=deterministic)
        extras = {f"fusion/{name}": value for name, value in fused.extras.items()}
        outputs = {
            name: head(fused, deterministic=deterministic) for name, head in self.heads.items()
        }
        return {name: value.astype(jnp.float32) for name, value in (extras | outputs).items()}
