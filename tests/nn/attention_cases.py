"""What the tests of attention share: an example and a naive oracle."""

import jax.numpy as jnp
import numpy as np


def loop_attention(q, k, v, mask, causal=False, bias=None):
    """One softmax at a time, over the keys that a query may read only, in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    batch, heads, queries, width = q.shape
    out = np.zeros((batch, heads, queries, v.shape[-1]))
    for b, h, i in np.ndindex(batch, heads, queries):
        keys = [j for j in np.flatnonzero(mask[b]) if j <= i or not causal]
        scores = np.array([q[b, h, i] @ k[b, h, j] for j in keys]) / np.sqrt(width)
        if bias is not None:
            scores = scores + np.array([bias[b % len(bias), h, i, j] for j in keys])
        weights = np.exp(scores - scores.max()) if keys else scores
        for j, weight in zip(keys, weights / weights.sum(), strict=True):
            out[b, h, i] += weight * v[b, h, j]
    return out


def example():
    random = np.random.default_rng(0)
    q, k, v = (jnp.asarray(random.normal(size=(3, 2, 5, 4)), jnp.float32) for _ in range(3))
    mask = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    return q, k, v, jnp.asarray(mask)
