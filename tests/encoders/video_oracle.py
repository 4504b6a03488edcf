"""What the tests of video encoders share: clips with gaps, and a transformer in plain numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erf

WIDTH, HEADS = 8, 2
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 1], [0] * 6], bool)


def clips(rows=4, frames=6, side=8):
    shape = (rows, frames, side, side, 3)
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


@functools.cache
def drawn(encoder):
    """Parameters at random, none of them zero."""
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), clips())
    return jax.tree.map(lambda p: jnp.asarray(random.normal(0, 0.3, p.shape), p.dtype), shapes)


def run(encoder, mask=MASK, **options):
    """Tokens and their mask, as numpy arrays."""
    apply = jax.jit(functools.partial(encoder.apply, **options))
    return [np.asarray(x) for x in apply(drawn(encoder), clips(), jnp.asarray(mask))]


def dense(x, p):
    return x @ np.asarray(p["kernel"]) + np.asarray(p["bias"])


def norm(x, p):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return x * np.asarray(p["scale"]) + np.asarray(p["bias"])


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_exact(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def block(x, p, activation):
    """A pre-norm block over x [N D], head by head."""
    q, k, v = np.split(dense(norm(x, p["attention_norm"]), p["attention"]["qkv"]), 3, axis=1)
    size = WIDTH // HEADS
    read = []
    for head in range(HEADS):
        part = slice(head * size, head * size + size)
        weights = np.exp(q[:, part] @ k[:, part].T / np.sqrt(size))
        read.append(weights / weights.sum(1, keepdims=True) @ v[:, part])
    x = x + dense(np.concatenate(read, 1), p["attention"]["out"])
    return x + dense(activation(dense(norm(x, p["mlp_norm"]), p["mlp_in"])), p["mlp_out"])


def stack(x, p, class_token):
    """ViViT's transformer over x [N D]."""
    if class_token:
        x = np.concatenate([np.asarray(p["class_token"]), x])
    layers = p["transformer"]
    for layer in range(len(layers) - 1):
        x = block(x, layers[f"block_{layer}"], gelu)
    return norm(x, layers["norm"])


def check(tokens, mask, row, places, expected):
    """The tokens at `places` are real and as expected, the others masked."""
    np.testing.assert_array_equal(np.flatnonzero(mask[row]), places)
    np.testing.assert_allclose(tokens[row, places], expected, atol=2e-5)
