"""Encoders of feature vectors under the contract tests."""

import jax.numpy as jnp
import numpy as np

from mmjax.encoders.vector.mlp import VectorMlp
from mmjax.encoders.vector.transformer import VectorTransformer
from tests.encoders.spec import ROWS, Spec, shapes

LARGE_VECTOR = shapes(jnp.float32, 4096, 1024, mask=(4096, 1024))


def vector(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features, and which are there: all, some, none, one."""
    value = np.random.default_rng(seed).normal(size=(ROWS, 6)).astype(np.float32)
    mask = np.array(
        [[1, 1, 1, 1, 1, 1], [1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]], bool
    )
    return value, mask


STANDARD = {"feature_mean": 0.5, "feature_std": 2.0}
SPECS = {
    "vector_mlp": Spec(VectorMlp, vector, LARGE_VECTOR, {"hidden": (32, 16), **STANDARD}),
    "vector_transformer": Spec(
        VectorTransformer, vector, LARGE_VECTOR, {"layers": 1, **STANDARD}, {"layers": 8}
    ),
    "vector_class": Spec(VectorTransformer, vector, LARGE_VECTOR, {"layers": 1, "output": "class"}),
    "vector_mean": Spec(
        VectorTransformer, vector, LARGE_VECTOR, {"layers": 1, "output": "mean", "remat": True}
    ),
}
