"""What a backbone gives."""

from typing import Any, NamedTuple

from jaxtyping import Array


class Features(NamedTuple):
    """tokens: [B N D]. pooled: one vector of each example, [B E]; None: there is none. states: the
    tokens before the first layer and after each, without a norm that follows the last. mask: which
    tokens are real, [B N]; None: all are."""

    tokens: Array
    pooled: Array | None
    states: tuple[Array, ...]
    mask: Array | None = None

    def named(self, output_hidden_states: bool) -> dict[str, Any]:
        """By the names of transformers; the hidden states only if they are wanted."""
        found = {"last_hidden_state": self.tokens, "pooler_output": self.pooled}
        found |= {"hidden_states": self.states if output_hidden_states else None}
        return {name: value for name, value in found.items() if value is not None}
