"""Towers with a classifier on top."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.pooling import masked_mean


class Classifier(nn.Module):
    """The outputs of a tower, and logits [B classes] read off its "pooler_output".

    Attributes:
        tower: any module that gives "pooler_output", [B D] or [B D 1 1]; parameters "tower".
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
        pooled = outputs["pooler_output"]
        logits = head(pooled.reshape(pooled.shape[0], -1))
        return {"logits": logits.astype(jnp.float32), **outputs}


class MeanClassifier(nn.Module):
    """The outputs of a tower of pictures, and logits [B classes] read off the mean of its patches.

    Attributes:
        tower: gives "last_hidden_state" [B N D]; parameters "tower".
        classes: number of them.
        lead: tokens before the patches, which the mean leaves out.
        dtype: type of the computation.
    """

    tower: nn.Module
    classes: int
    lead: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, **inputs: Any) -> dict[str, Any]:
        """Takes what the tower takes; patches that its pixel_attention_mask hides do not count."""
        outputs = self.tower(**inputs)
        x, mask = outputs["last_hidden_state"][:, self.lead :], inputs.get("pixel_attention_mask")
        x = masked_mean(x, jnp.ones(x.shape[:2], bool) if mask is None else mask != 0)
        head = Dense(self.classes, dtype=self.dtype, name="classifier")
        return {"logits": head(x).astype(jnp.float32), **outputs}
