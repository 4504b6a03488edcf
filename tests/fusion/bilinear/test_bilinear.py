"""Compact, low-rank, Tucker and block fusions against plain numpy, one example at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.fusion.bilinear.block import BlockFusion
from mmjax.fusion.bilinear.compact_bilinear import CompactBilinearFusion, circular_convolution
from mmjax.fusion.bilinear.low_rank import LowRankFusion
from mmjax.fusion.bilinear.mutan import MutanFusion
from mmjax.fusion.bilinear.products import signed_root, unit_norm
from mmjax.nn.layers.count_sketch import make_hashes
from mmjax.types import Tokens
from tests.fusion.bilinear.test_tensor import dense, every_presence, full_kernel, present_means
from tests.fusion.oracle import run
from tests.nn.layers.test_count_sketch import naive_sketch

NAMES = ("a", "b", "c")


def product(factors, shape):
    """The product of what is present; zeros with nothing."""
    return functools.reduce(np.multiply, factors) if factors else np.zeros(shape)


def normed(z):
    """Signed square root (with the offset that bounds its slope) and division by the norm."""
    root = np.sign(z) * (np.sqrt(np.abs(z) + 1e-8) - 1e-4)
    return root / max(np.linalg.norm(root), 1e-6)


def sketch_of_outer_product(vectors, width):
    """The count sketch of the whole outer product: places and signs of a product of features."""
    result = np.zeros(width)
    hashes = [make_hashes(name, len(x), width, 0) for name, x in vectors.items()]
    for index in np.ndindex(*(len(x) for x in vectors.values())):
        place = sum(h.places[i] for h, i in zip(hashes, index, strict=True)) % width
        sign = np.prod([h.signs[i] for h, i in zip(hashes, index, strict=True)])
        value = np.prod([x[i] for x, i in zip(vectors.values(), index, strict=True)])
        result[place] += sign * value
    return result


def test_mcb_is_a_sketch_of_the_outer_product():
    inputs = every_presence(NAMES)
    fused, params = run(CompactBilinearFusion(5, sketch_width=24), inputs)
    for row in range(8):
        means = present_means(inputs, row)
        z = sketch_of_outer_product(means, 24) if means else np.zeros(24)
        expected = dense(normed(z), params["out"])
        np.testing.assert_allclose(fused.pooled[row], expected, atol=1e-4)
        assert fused.tokens.mask[row, 0] == bool(means)


@pytest.mark.parametrize("width", [7, 8])
def test_circular_convolution_equals_the_double_loop(width):
    random = np.random.default_rng(1)
    x = random.normal(size=(4, 2, width)).astype(np.float32)
    mask = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], bool)
    got = circular_convolution(jnp.asarray(x), jnp.asarray(mask))
    expected = np.zeros(width)
    for i in range(width):
        for j in range(width):
            expected[(i + j) % width] += x[0, 0, i] * x[0, 1, j]
    for row, value in enumerate((expected, x[1, 0], x[2, 1], np.zeros(width))):
        np.testing.assert_allclose(got[row], value, atol=1e-5)


def test_convolved_sketches_keep_inner_products_of_outer_products():
    """<x (outer) y, u (outer) v> = <x, u> <y, v>, over 400 seeds."""
    x, u, y, v = np.random.default_rng(2).normal(size=(4, 6)) + 0.5
    pairs = []
    for seed in range(400):
        left, right = (make_hashes(name, 6, 32, seed) for name in ("image", "text"))
        pairs += [[naive_sketch(a, left), naive_sketch(b, right)] for a, b in ((x, y), (u, v))]
    sketches = jnp.asarray(np.reshape(pairs, (800, 2, 32)), jnp.float32)
    z = np.asarray(circular_convolution(sketches, jnp.ones((800, 2), bool)), np.float64)
    products = (z[::2] * z[1::2]).sum(1)
    assert abs(products.mean() - (x @ u) * (y @ v)) < 4 * products.std() / 400**0.5


def test_the_signed_root_is_the_square_root_with_a_finite_slope():
    x = jnp.array([-4.0, -1e-3, -1e-30, 0.0, 1e-12, 0.25, 9.0])
    np.testing.assert_allclose(signed_root(x), np.sign(x) * np.sqrt(np.abs(x)), atol=1e-4)
    slopes = jax.jit(jax.vmap(jax.grad(signed_root)))(x)
    np.testing.assert_allclose(slopes[jnp.array([0, 5, 6])], [0.25, 1, 1 / 6], rtol=1e-3)
    np.testing.assert_allclose(slopes[3], 5000, rtol=1e-4)
    assert slopes.min() > 0
    assert slopes.max() < 5001


def test_unit_norm_divides_by_the_norm_and_leaves_zeros():
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    x[1] = 0
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(unit_norm(jnp.asarray(x)), x / np.maximum(norms, 1e-9), atol=1e-6)
    assert np.isfinite(jax.jit(jax.jacobian(unit_norm))(jnp.asarray(x))).all()


@pytest.mark.parametrize(
    "module",
    [CompactBilinearFusion(5, 16), BlockFusion(5, 8, 2), BlockFusion(5, 8, 2, norm="whole")],
)
def test_present_zeros_have_finite_gradients(module):
    """Zeros are where the derivative of the square root is infinite."""
    x = jnp.zeros((2, 1, 4))

    def loss(params, x):
        tokens = {name: Tokens(x, jnp.ones((2, 1), bool)) for name in "ab"}
        return (module.apply({"params": params}, tokens).pooled ** 3).sum()

    _, params = run(module, {name: Tokens(x, jnp.ones((2, 1), bool)) for name in "ab"})
    zeroed = jax.tree.map(jnp.zeros_like, params) | {"out": params["out"]}
    gradient = jax.jit(jax.grad(loss, (0, 1)))
    for p in (params, zeroed):
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient(p, x)))


def test_lmf_contracts_a_tensor_of_low_rank():
    inputs = every_presence(NAMES)
    fused, params = run(LowRankFusion(5, rank=3), inputs)
    factors = {}
    for name in NAMES:
        layer = params["products"][f"factor_{name}"]
        both = np.concatenate([layer["kernel"], layer["bias"][None]])  # [d + 1, rank * D]
        factors[name] = both.reshape(-1, 3, 5)
    for row in range(8):
        means = present_means(inputs, row)
        expected = np.array(params["bias"])
        if means:
            tensor = np.asarray(params["rank_weights"])[:, None] * np.ones((1, 5))
            for name in means:
                tensor = np.einsum("...rd,ird->...ird", tensor, factors[name])
            tensor = tensor.sum(-2)
            for x in means.values():
                tensor = np.tensordot([*x, 1], tensor, axes=(0, 0))
            expected = expected + tensor
        np.testing.assert_allclose(fused.pooled[row], expected, atol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_mutan_is_a_sum_of_products_between_projections(activation):
    act = {"tanh": np.tanh, "identity": lambda x: x}[activation]
    inputs = every_presence(NAMES)
    fused, params = run(MutanFusion(5, factor_width=4, rank=3, activation=activation), inputs)
    for row in range(8):
        factors = [
            dense(act(dense(x, params[f"project_{name}"])), params["core"][f"factor_{name}"])
            for name, x in present_means(inputs, row).items()
        ]
        z = product(factors, 12).reshape(3, 4).sum(0)
        np.testing.assert_allclose(fused.pooled[row], dense(z, params["out"]), atol=1e-5)


def test_mutan_without_rank_has_a_full_core_for_each_pair():
    inputs = every_presence(NAMES)
    fused, params = run(MutanFusion(5, factor_width=4, rank=None), inputs)
    kernel = full_kernel(params["core"], NAMES, 4, 4)
    for row in range(8):
        means = present_means(inputs, row)
        z = kernel * bool(means)
        for name in NAMES:
            x = np.zeros(4)
            if name in means:
                x = np.tanh(dense(means[name], params[f"project_{name}"]))
            z = np.tensordot([*x, 1], z, axes=(0, 0))
        np.testing.assert_allclose(fused.pooled[row], dense(z, params["out"]), atol=1e-5)


@pytest.mark.parametrize("norm", ["chunk", "whole", "none"])
def test_block_lets_only_equal_chunks_interact(norm):
    chunks, size, rank = 3, 2, 4
    inputs = every_presence(NAMES)
    fused, params = run(BlockFusion(5, chunks * size, chunks, rank, norm), inputs)
    for row in range(8):
        means = present_means(inputs, row)
        x = {name: dense(mean, params[f"project_{name}"]) for name, mean in means.items()}
        parts = []
        for c in range(chunks):
            factors = [
                x[name][c * size : (c + 1) * size] @ np.asarray(params[f"core_{name}"][c])
                + np.asarray(params[f"core_bias_{name}"][c])
                for name in x
            ]
            z = product(factors, rank * size).reshape(rank, size).sum(0)
            parts.append(normed(z) if norm == "chunk" else z)
        z = np.concatenate(parts)
        z = normed(z) if norm == "whole" else z
        np.testing.assert_allclose(fused.pooled[row], dense(z, params["out"]), atol=1e-5)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (BlockFusion(5, factor_width=10, chunks=3), "factor_width 10 does not split into 3 chunks"),
        (BlockFusion(5, norm="l2"), "unknown norm 'l2': choose one of chunk, none, whole"),
        (MutanFusion(5, activation="max"), "unknown activation 'max'"),
    ],
)
def test_mistakes_are_told_in_one_line(module, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(module.init, jax.random.key(0), every_presence(NAMES))


# Questions of width 4800 and pictures of width 2048, 3000 answers, as in the papers on VQA.
VQA = {"question": 4800, "image": 2048}
PROJECT = sum(d * 160 + 160 for d in VQA.values())
OUT = 160 * 3000 + 3000


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        # The n_params of block.bootstrap.pytorch's Mutan(mm_dim=160, rank=10), and the formula.
        (MutanFusion(3000, 160, 10), 2_094_200),
        (MutanFusion(3000, 160, 10), PROJECT + 2 * (160 * 1600 + 1600) + OUT),
        # Of its Tucker(mm_dim=160), besides the linear terms.
        (MutanFusion(3000, 160, None), 5_675_160 + 2 * 160 * 160),
        (MutanFusion(3000, 160, None), PROJECT + 160**3 + 160 + 2 * 160**2 + OUT),
        # Of its Block(mm_dim=1600, chunks=20, rank=15).
        (BlockFusion(3000, 1600, 20, 15), 19_651_000),
        # Fukui et al. 2016: only what follows the pooling is learned.
        (CompactBilinearFusion(3000, 16000), 16000 * 3000 + 3000),
        # Liu et al. 2018: rank (d_m + 1) D for each modality, the ranks' weights and a bias.
        (LowRankFusion(3000, 4), 4 * (4801 + 2049) * 3000 + 4 + 3000),
    ],
)
def test_parameters_are_as_many_as_the_papers(module, expected):
    inputs = {
        name: Tokens(
            jax.ShapeDtypeStruct((1, 1, width), jnp.float32), jax.ShapeDtypeStruct((1, 1), bool)
        )
        for name, width in VQA.items()
    }
    params = jax.eval_shape(module.init, jax.random.key(0), inputs)
    assert sum(p.size for p in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize(
    "module",
    [CompactBilinearFusion(300, 256), BlockFusion(300), BlockFusion(300, norm="whole")],
)
def test_normed_fusions_start_with_variance_one(module):
    """Though the vectors that enter the last layer have norm one."""
    random = np.random.default_rng(0)
    inputs = {
        n: Tokens(
            jnp.asarray(random.normal(size=(64, 1, 32)), jnp.float32), jnp.ones((64, 1), bool)
        )
        for n in "ab"
    }
    fused, _ = jax.jit(module.init_with_output)(jax.random.key(0), inputs)
    np.testing.assert_allclose(fused.pooled.var(), 1, atol=0.15)
