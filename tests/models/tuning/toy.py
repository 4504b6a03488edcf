"""A small model of two modalities, and what the tests of tuning do with it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.encoders.text.transformer import TextTransformer
from mmjax.models.aligned import AlignedModel
from mmjax.models.heads import Projection
from mmjax.nn.layers.conv_norm import ConvNorm
from mmjax.nn.layers.dense import Dense
from mmjax.tuning.paths import names_of
from mmjax.types import Input, Tokens

WIDTH, LENGTH, KEY = 8, 5, jax.random.PRNGKey(0)
TEXT = "encoders_text/transformer"


def text_model(width=WIDTH, **options):
    encoder = TextTransformer(width, 12, **{"layers": 2, "heads": 2} | options)
    dtype = options.get("dtype", jnp.float32)
    return AlignedModel({"text": encoder}, {"text": Projection(6, dtype=dtype)})


class Pictures(nn.Module):
    """A convolution of stride 2, a batch norm and a dense layer."""

    last: str = "dense"

    @nn.compact
    def __call__(self, value, mask=None, *, deterministic=True):
        x = value.astype(jnp.float32) / 255
        x = ConvNorm(4, 3, 2, name="stem")(x, mask, deterministic=deterministic)
        x = Dense(WIDTH, name=self.last)(x.reshape(len(x), -1, 4))
        x = nn.Dropout(0.5, deterministic=deterministic)(x)
        return Tokens(x, jnp.ones(x.shape[:2], bool))


def picture_model(last="dense"):
    """With a convolution, a batch norm and dropout."""
    return AlignedModel({"image": Pictures(last)}, {"image": Projection(6)})


def texts(rows=2, seed=0, length=LENGTH):
    words = np.random.default_rng(seed).integers(12, size=(rows, length))
    mask = np.arange(length) < np.arange(rows)[:, None] % length + 2
    return {"text": Input(jnp.asarray(words, jnp.int32), jnp.asarray(mask))}


def pictures(rows=2, seed=0):
    pixels = np.random.default_rng(seed).integers(256, size=(rows, 6, 6, 3))
    return {"image": Input(jnp.asarray(pixels, jnp.uint8))}


def shaken(params, key, seed=1):
    """The parameters with random numbers added to those under `key`."""
    rng = np.random.default_rng(seed)

    def shake(x):
        return x + jnp.asarray(rng.normal(size=x.shape), x.dtype)

    return {**params, key: jax.tree.map(shake, params[key])}


def own(params, key):
    """The parameters of the model alone."""
    return {name: value for name, value in params.items() if name != key}


def named(params):
    """Parameters by path."""
    return dict(zip(names_of(params), jax.tree.leaves(params), strict=True))


def same(a, b):
    """Whether two trees are equal bit for bit."""
    leaves_a, leaves_b = jax.tree.leaves(a), jax.tree.leaves(b)
    pairs = zip(leaves_a, leaves_b, strict=True)
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in pairs)


def projections(model, params, inputs, **options):
    name = next(iter(inputs))
    return jax.jit(model.apply)({"params": params}, inputs, **options)[f"projection/{name}"]


def close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
