"""Count sketches: the naive loop, and what they keep of inner products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn.layers.count_sketch import count_sketch, make_hashes


def naive_sketch(x, hashes):
    """One feature after the other, in float64."""
    result = np.zeros(hashes.width)
    for value, place, sign in zip(x, hashes.places, hashes.signs, strict=True):
        result[place] += float(value) * sign
    return result


@pytest.mark.parametrize(("features", "width"), [(1, 5), (7, 3), (20, 64)])
def test_equals_the_loop_and_so_does_the_gradient(features, width):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3, features)).astype(np.float32)
    weights = random.normal(size=(2, 3, width)).astype(np.float32)
    hashes = make_hashes("image", features, width, seed=4)
    sketch, pull = jax.vjp(lambda x: count_sketch(x, hashes), jnp.asarray(x))
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(sketch[index], naive_sketch(x[index], hashes), atol=1e-6)
        expected = weights[index][hashes.places] * hashes.signs
        np.testing.assert_allclose(pull(weights)[0][index], expected, atol=1e-6)


def test_hashes_never_change():
    """They are part of a trained model, so the same ones must come out of every version."""
    image, text = (make_hashes(name, 6, 16000, seed=0) for name in ("image", "text"))
    assert image.places.tolist() == [4797, 3281, 4078, 2665, 11747, 3146]
    assert image.signs.tolist() == [-1, -1, 1, -1, -1, 1]
    assert text.places.tolist() != image.places.tolist()
    assert make_hashes("image", 6, 16000, seed=1).places.tolist() != image.places.tolist()
    longer = make_hashes("image", 9, 16000, seed=0)
    np.testing.assert_array_equal(longer.places[:6], image.places)
    np.testing.assert_array_equal(longer.signs[:6], image.signs)


def test_hashes_are_uniform_and_signs_independent_of_places():
    places, signs, _ = make_hashes("image", 40_000, 10, seed=0)
    for chosen in (signs == 1, signs == -1):
        counts = np.bincount(places[chosen], minlength=10)
        # Binomial(40000, 1/20): standard deviation 44.
        np.testing.assert_allclose(counts, 2000, atol=4 * 44)


def test_inner_products_are_unbiased_over_seeds():
    random = np.random.default_rng(3)
    x, y = random.normal(size=(2, 12)) + 0.5
    products = []
    for seed in range(1000):
        hashes = make_hashes("image", 12, 16, seed)
        products.append(naive_sketch(x, hashes) @ naive_sketch(y, hashes))
    error = np.std(products) / len(products) ** 0.5
    assert abs(np.mean(products) - x @ y) < 4 * error
    # The variance of the estimate, at most (|x|^2 |y|^2 + (x y)^2) / width.
    assert np.var(products) < (x @ x * (y @ y) + (x @ y) ** 2) / 16 * 1.2
