"""Logits for each token of one modality, or of one that the others tell something."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.series.recurrent import SeriesRecurrent
from mmjax.encoders.vector.mlp import VectorMlp
from mmjax.fusion.attention.cross_attention import CrossAttentionFusion
from mmjax.fusion.modulation.film import FilmFusion
from mmjax.models.transcriber import CharacterHead, Transcriber
from mmjax.types import Input

ROWS, STEPS, WIDTH = 3, 6, 8
ALONE = Transcriber({"ink": SeriesRecurrent(WIDTH, bidirectional=True)}, CharacterHead(5))
BOTH = {"hint": VectorMlp(WIDTH), "ink": SeriesRecurrent(WIDTH)}
FUSED = {
    "film": Transcriber(BOTH, CharacterHead(5), FilmFusion(WIDTH, target="ink")),
    "cross_attention": Transcriber(
        BOTH, CharacterHead(5), CrossAttentionFusion(WIDTH, query="ink", heads=2)
    ),
}


def inputs(seed=0, masked=None):
    rng = np.random.default_rng(seed)
    ink = rng.normal(size=(ROWS, STEPS, 4)).astype(np.float32)
    mask = np.arange(STEPS) < np.array([6, 3, 0])[:, None]
    if masked is not None:
        ink[~mask] = masked
    return {"ink": Input(jnp.asarray(ink), jnp.asarray(mask))}


def with_hint(given, there=True):
    hint = jnp.asarray(np.random.default_rng(9).normal(size=(ROWS, 4)), jnp.float32)
    return given | {"hint": Input(hint, jnp.full((ROWS, 4), there))}


def test_each_token_has_logits_and_nothing_masked_counts():
    variables = ALONE.init(jax.random.PRNGKey(0), inputs())
    one, other = (ALONE.apply(variables, inputs(masked=value)) for value in (7.0, -1e9))
    assert one["characters"].shape == (ROWS, STEPS, 5)
    assert one["characters"].dtype == jnp.float32
    np.testing.assert_array_equal(one["characters_mask"], inputs()["ink"].mask)
    real = np.asarray(one["characters_mask"])
    np.testing.assert_array_equal(one["characters"][real], other["characters"][real])
    assert np.isfinite(one["characters"]).all()
    assert one["encoder/ink"].shape == (ROWS, WIDTH)
    assert one["encoder/ink_mask"].tolist() == [True, True, False]


@pytest.mark.parametrize("name", FUSED)
def test_a_fusion_keeps_the_tokens_of_what_is_written(name):
    model = FUSED[name]
    variables = model.init(jax.random.PRNGKey(0), with_hint(inputs()))
    outputs = model.apply(variables, with_hint(inputs()))
    mask = np.asarray(outputs["characters_mask"])
    assert outputs["characters"].shape == (*mask.shape, 5)
    assert mask.sum(axis=1)[:2].tolist() == [6, 3]
    # What the hint says reaches every token; without it the ink is still read.
    absent = model.apply(variables, with_hint(inputs(), there=False))["characters"]
    changed = np.abs(np.asarray(outputs["characters"] - absent)).max(axis=-1)
    assert (changed[:2][mask[:2]] > 0).all()
    alone = model.apply(variables, inputs())["characters"]
    np.testing.assert_allclose(alone[:2], absent[:2], atol=1e-6)
