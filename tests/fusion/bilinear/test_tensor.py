"""Tensor and bilinear fusion against the naive outer product, one example at a time."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.fusion.bilinear.bilinear import BilinearFusion
from mmjax.fusion.bilinear.multilinear import MultilinearForm
from mmjax.fusion.bilinear.tensor import TensorFusion
from mmjax.types import Tokens
from tests.fusion.oracle import run

WIDTHS = {"b": 5, "a": 6, "c": 4}


def every_presence(names):
    """Two tokens of each modality, one row for each subset of them present, the empty one too."""
    random = np.random.default_rng(0)
    rows = np.array(list(itertools.product([True, False], repeat=len(names))))
    return {
        name: Tokens(
            jnp.asarray(random.normal(size=(len(rows), 2, WIDTHS[name])), jnp.float32),
            jnp.asarray(np.stack([rows[:, place], rows[:, place] & (random.random() < 0.5)], 1)),
        )
        for place, name in enumerate(names)
    }


def present_means(inputs, row):
    """The mean of the real tokens of each present modality of one example, by sorted name."""
    return {
        name: np.asarray(inputs[name].x)[row][real].mean(0)
        for name in sorted(inputs)
        if (real := np.asarray(inputs[name].mask)[row]).any()
    }


def dense(x, params):
    return x @ np.asarray(params["kernel"]) + np.asarray(params["bias"])


def full_kernel(form, names, width, features):
    """The kernel over the outer product of all [x; 1], from the kernels of the subsets."""
    kernel = np.zeros((*(width + 1,) * len(names), features))
    seen = 0
    for size in range(len(names) + 1):
        for subset in itertools.combinations(names, size):
            key = f"kernel_{'-'.join(subset)}" if subset else "bias"
            if key in form:
                place = tuple(slice(width) if name in subset else width for name in names)
                kernel[place] = form[key]
                seen += np.size(form[key])
    assert seen == sum(np.size(p) for p in form.values())
    return kernel


@pytest.mark.parametrize("names", ["a", "ab", "bac"])
@pytest.mark.parametrize("constructor", [TensorFusion, BilinearFusion])
def test_equals_a_linear_layer_over_the_naive_outer_product(constructor, names):
    inputs = every_presence(names)
    fused, params = run(constructor(7, factor_width=3, activation="tanh"), inputs)
    names = sorted(names)
    kernel = full_kernel(params["form"], names, 3, 7)
    if constructor is TensorFusion:
        assert sum(np.size(p) for p in params["form"].values()) == 4 ** len(names) * 7
    for row in range(len(fused.pooled)):
        means = present_means(inputs, row)
        expected = kernel
        for name in names:
            x = np.tanh(dense(means[name], params[f"project_{name}"])) if name in means else [0] * 3
            expected = np.tensordot([*x, 1], expected, axes=(0, 0))
        np.testing.assert_allclose(fused.pooled[row], expected, atol=2e-6)
        np.testing.assert_allclose(fused.tokens.x[row, 0], expected * bool(means), atol=2e-6)
        assert fused.tokens.mask[row, 0] == bool(means)


def test_a_form_of_every_order_keeps_to_its_subsets():
    vectors = {name: jnp.ones((1, 2)) for name in "abcd"}
    for order, subsets in ((1, 4), (2, 10), (3, 14), (4, 15)):
        form = MultilinearForm(3, order)
        params = jax.eval_shape(form.init, jax.random.key(0), vectors)["params"]
        assert len(params) == subsets + 1
        assert max(p.ndim for p in params.values()) == order + 1


def test_names_with_underscores_do_not_collide():
    vectors = {name: jnp.ones((1, 2)) for name in ("image", "text", "image_text")}
    params = jax.eval_shape(MultilinearForm(3, 2).init, jax.random.key(0), vectors)["params"]
    assert params["kernel_image-text"].shape == (2, 2, 3)
    assert params["kernel_image_text"].shape == (2, 3)


def test_starts_with_variance_one():
    random = np.random.default_rng(0)
    vectors = {name: jnp.asarray(random.normal(size=(400, 8)), jnp.float32) for name in "abc"}
    y, _ = jax.jit(MultilinearForm(200, 3).init_with_output)(jax.random.key(0), vectors)
    np.testing.assert_allclose(y.var(), 1, atol=0.1)


def shaped(count):
    x = jax.ShapeDtypeStruct((1, 1, 8), jnp.float32)
    return {f"m{i}": Tokens(x, jax.ShapeDtypeStruct((1, 1), bool)) for i in range(count)}


def test_the_papers_sizes():
    """Zadeh et al. 2017: subnetworks of width 128, 32 and 32 would be (129)(33)(33) entries."""
    widths = {"language": 128, "visual": 32, "acoustic": 32}
    vectors = {name: jax.ShapeDtypeStruct((1, d), jnp.float32) for name, d in widths.items()}
    params = jax.eval_shape(MultilinearForm(128, 3).init, jax.random.key(0), vectors)["params"]
    assert sum(p.size for p in params.values()) == 129 * 33 * 33 * 128


@pytest.mark.parametrize(
    ("factor_width", "count", "advice"),
    [(8, 6, "choose factor_width 6 or less"), (1, 18, "choose the fusion 'lmf'")],
)
def test_a_product_that_is_too_large_is_told_with_one_that_fits(factor_width, count, advice):
    entries = (factor_width + 1) ** count
    with pytest.raises(UserError, match=f"{count} modalities.*has {entries} entries.*{advice}"):
        jax.eval_shape(TensorFusion(4, factor_width).init, jax.random.key(0), shaped(count))
    if count == 6:
        jax.eval_shape(TensorFusion(4, 6).init, jax.random.key(0), shaped(count))
        with pytest.raises(UserError):
            jax.eval_shape(TensorFusion(4, 7).init, jax.random.key(0), shaped(count))
