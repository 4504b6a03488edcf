"""A tower with a classifier on top."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.nn.dense import Dense


class Classifier(nn.Module):
    """The outputs of a tower, and logits [B classes] read off its "pooler_output".

    Attributes:
        tower: any module that gives "pooler_output"; parameters "tower".
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
        head = Dense(self.classes, dtype=self.dtype, name="classifier")
        return {"logits": head(outputs["pooler_output"]).astype(jnp.float32), **outputs}
