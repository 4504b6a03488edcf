"""An encoder is its backbone: it has the same parameters, and gives the same tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.backbones.audio.ast import AstBackbone
from mmjax.backbones.audio.whisper import WhisperBackbone
from mmjax.backbones.text.transformer import TextBackbone
from mmjax.encoders.audio.ast import SpectrogramTransformer
from mmjax.encoders.audio.whisper import WhisperEncoder
from mmjax.encoders.text.transformer import TextTransformer

SIZES = {"layers": 2, "heads": 2}
RANDOM = np.random.default_rng(0)
IDS = jnp.asarray(RANDOM.integers(0, 11, (3, 5)))
LOG_MEL = jnp.asarray(RANDOM.normal(size=(3, 20, 16)), jnp.float32)
REAL = jnp.ones(LOG_MEL.shape[:2], bool)
# Of each: the encoder, its input, the backbone, and the backbone's input.
PAIRS = {
    "ast": (
        SpectrogramTransformer(8, patch_size=4, stride=3, class_tokens=2, **SIZES),
        (LOG_MEL, REAL),
        AstBackbone(
            width=8,
            mlp_width=32,
            patch_size=4,
            strides=(3, 3),
            placed=False,
            bin_by_bin=False,
            epsilon=1e-6,
            **SIZES,
        ),
        LOG_MEL,
    ),
    "text": (
        TextTransformer(8, 11, **SIZES),
        (IDS,),
        TextBackbone(8, mlp_width=32, vocabulary_size=11, activation="gelu", epsilon=1e-6, **SIZES),
        IDS,
    ),
    "whisper": (
        WhisperEncoder(8, **SIZES),
        (LOG_MEL, REAL),
        WhisperBackbone(8, mlp_width=32, **SIZES),
        jnp.swapaxes(LOG_MEL, 1, 2),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_an_encoder_has_the_parameters_and_the_tokens_of_its_backbone(name):
    encoder, inputs, backbone, x = PAIRS[name]
    method = "__call__" if name == "text" else "from_log_mel"
    own = encoder.init(jax.random.PRNGKey(1), *inputs, method=method)
    shapes = jax.eval_shape(backbone.init, jax.random.PRNGKey(1), x)
    assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, shapes)
    drawn = jax.tree.map(lambda p: jnp.asarray(RANDOM.normal(size=p.shape), jnp.float32), own)
    found = backbone.apply(drawn, x, output_hidden_states=True)
    tokens = encoder.apply(drawn, *inputs, method=method)
    np.testing.assert_array_equal(tokens.x, found["last_hidden_state"])
    assert len(found["hidden_states"]) == 1 + SIZES["layers"]
