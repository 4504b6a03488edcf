"""What published models share: their masks, their outputs, the check of their heads."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array, Bool, Shaped

from mmjax.errors import UserError


def as_mask(attention_mask: Shaped[Array, "B N"] | None) -> Bool[Array, "B N"] | None:
    """1 for a real token, as PyTorch libraries have it -> True."""
    return None if attention_mask is None else attention_mask != 0


def with_states(outputs: Mapping[str, Any], states: tuple, wanted: bool) -> dict[str, Any]:
    """The outputs, and the hidden states if they are wanted."""
    return {**outputs, "hidden_states": states} if wanted else dict(outputs)


def check_heads(architecture: str, width: int, heads: int) -> None:
    """Raises UserError if a width does not split into its heads."""
    if heads < 1 or width % heads:
        raise UserError(
            f"{architecture}: a width of {width} does not split into {heads} heads: config.json"
            " does not describe this model"
        )
