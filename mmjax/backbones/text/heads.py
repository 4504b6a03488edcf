"""What reads an answer off the tokens of a text: one for the text, for each word, or a span."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import activation


class FirstClassifier(nn.Module):
    """The outputs of a tower, and logits [B C] by two layers at the first token (RoBERTa,
    DistilBERT).

    Attributes:
        tower: gives "last_hidden_state" [B L D].
        classes: C.
        width: of the layer in between.
        activation: after it, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dtype: type of the computation.
    """

    tower: nn.Module
    classes: int
    width: int
    activation: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """Takes what the tower takes."""
        outputs = self.tower(*args, **inputs)
        x = Dense(self.width, dtype=self.dtype, name="hidden")(outputs["last_hidden_state"][:, 0])
        x = activation(self.activation)(x)
        logits = Dense(self.classes, dtype=self.dtype, name="classifier")(x)
        return {"logits": logits.astype(jnp.float32), **outputs}


class WordClassifier(nn.Module):
    """The outputs of a tower, and logits [B L C] of each token, or of a span [B L] that it starts
    and ends it.

    Attributes:
        tower: gives "last_hidden_state" [B L D].
        classes: C.
        spans: whether there are start_logits and end_logits in place of logits.
        dtype: type of the computation.
    """

    tower: nn.Module
    classes: int
    spans: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """Takes what the tower takes."""
        outputs = self.tower(*args, **inputs)
        head = Dense(self.classes, dtype=self.dtype, name="classifier")
        logits = head(outputs["last_hidden_state"]).astype(jnp.float32)
        if self.spans:
            return {"start_logits": logits[..., 0], "end_logits": logits[..., 1], **outputs}
        return {"logits": logits, **outputs}
