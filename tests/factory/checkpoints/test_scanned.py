import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from mmjax.encoders.image.vit import Vit
from mmjax.encoders.series.transformer import SeriesTransformer
from mmjax.encoders.text.transformer import TextTransformer
from mmjax.factory.checkpoints.scanned import in_form_of

ENCODERS = {
    "image": (Vit(8, layers=3, heads=2), np.arange(192, dtype=np.uint8).reshape(1, 8, 8, 3)),
    "series": (SeriesTransformer(8, layers=3, heads=2), np.ones((1, 4, 2), np.float32)),
    "text": (TextTransformer(8, vocabulary_size=9, layers=3, heads=2), np.arange(5)[None]),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_has_the_same_parameters_in_both_forms(kind):
    apart, value = ENCODERS[kind]
    scanned = apart.clone(scan=True)
    value = jnp.asarray(value)
    variables = jax.jit(apart.init)(jax.random.key(1), value)
    flat = flatten_dict(variables)
    wanted = flatten_dict(jax.eval_shape(scanned.init, jax.random.key(0), value))
    stacked = in_form_of(wanted, flat)
    assert {k: v.shape for k, v in stacked.items()} == {k: v.shape for k, v in wanted.items()}
    expected = jax.jit(apart.apply)(variables, value)
    found = jax.jit(scanned.apply)(unflatten_dict(stacked), value)
    np.testing.assert_allclose(found.x, expected.x, atol=1e-5)
    back = in_form_of(flat, stacked)
    assert back.keys() == flat.keys()
    for name, array in flat.items():
        np.testing.assert_array_equal(back[name], array)


def test_what_has_no_other_form_stays():
    given = {("a", "block", "w"): np.ones((2, 3)), ("b", "block_0", "w"): np.ones(3)}
    wanted = {("a", "block_2", "w"): 0, ("b", "block_1", "w"): 0, ("c", "block", "w"): 0}
    assert in_form_of(wanted, given).keys() == given.keys()
    assert in_form_of(given, given).keys() == given.keys()
