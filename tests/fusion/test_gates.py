"""Sums, gates, low-rank products and deep sets against plain numpy, one example at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.fusion.attention.early import EarlyConcatFusion
from mmjax.fusion.bilinear.mlb import MlbFusion
from mmjax.fusion.pooling.adaptive import AdaptiveFusion
from mmjax.fusion.pooling.gated import GatedFusion
from mmjax.fusion.pooling.sums import ConvexFusion, SumFusion
from mmjax.types import Tokens
from tests.fusion.oracle import MASKS, means, run, tokens

NAMES = ("image", "text")


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def dense(x, params):
    return x @ params["kernel"] + params.get("bias", 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def one_token(**vectors):
    """Modalities of one token each, all real."""
    return {
        name: Tokens(jnp.asarray(x, jnp.float32)[:, None], jnp.ones((len(x), 1), bool))
        for name, x in vectors.items()
    }


def assert_weighted(fused, params, weights, *, act):
    """`weights` of one row by present name; the rest follows from them."""
    for row, chosen in enumerate(weights):
        terms = {n: act(dense(x, params[f"project_{n}"])) for n, x in means(INPUTS, row).items()}
        expected = sum((chosen[n] * terms[n] for n in terms), np.zeros(5))
        np.testing.assert_allclose(fused.pooled[row], expected, atol=1e-5)
        for place, name in enumerate(NAMES):
            np.testing.assert_allclose(
                fused.tokens.x[row, place], terms.get(name, np.zeros(5)), atol=1e-5
            )
            assert fused.tokens.mask[row, place] == (name in terms)
            if "weights" in fused.extras:
                np.testing.assert_allclose(
                    fused.extras["weights"][row, place], chosen.get(name, 0), atol=1e-6
                )


INPUTS = tokens(width=6, text_width=4)


def test_sum_adds_the_projections_of_the_present_modalities():
    fused, params = run(SumFusion(5, activation="tanh"), INPUTS)
    ones = [dict.fromkeys(means(INPUTS, row), 1.0) for row in range(4)]
    assert_weighted(fused, params, ones, act=np.tanh)


def test_convex_weights_are_a_softmax_of_learned_logits_over_the_present():
    fused, params = run(ConvexFusion(5), INPUTS)
    alpha = sigmoid(params["logit_image"] - params["logit_text"])
    both = {"image": alpha, "text": 1 - alpha}
    weights = [both, {"image": 1.0}, {"text": 1.0}, {}]
    assert_weighted(fused, params, weights, act=lambda x: x)


def test_convex_starts_with_equal_weights():
    inputs = one_token(**dict.fromkeys("abc", np.ones((1, 2))))
    fused, _ = jax.jit(ConvexFusion(2).init_with_output)(jax.random.key(0, impl="rbg"), inputs)
    np.testing.assert_allclose(fused.extras["weights"], np.full((1, 3), 1 / 3), rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_adaptive_weights_are_scores_of_all_modalities_together(temperature):
    fused, params = run(AdaptiveFusion(5, temperature, activation="tanh"), INPUTS)
    weights = []
    for row in range(4):
        present = means(INPUTS, row)
        context = params["context"]["bias"]
        context = context + sum(dense(x, params["context"][n]) for n, x in present.items())
        scores = [np.tanh(context) @ params[f"score_{n}"] / temperature for n in present]
        shares = softmax(np.array(scores)) if scores else []
        weights.append(dict(zip(present, shares, strict=True)))
    assert_weighted(fused, params, weights, act=np.tanh)


def test_adaptive_temperature_goes_from_choosing_one_to_counting_alike():
    _, params = run(AdaptiveFusion(5), INPUTS)
    cold, warm, hot = (
        jax.jit(AdaptiveFusion(5, t).apply)({"params": params}, INPUTS).extras["weights"]
        for t in (1e-4, 1.0, 1e4)
    )
    np.testing.assert_allclose(cold[0], jnp.round(warm[0]), atol=1e-6)
    np.testing.assert_allclose(hot[0], 0.5, atol=1e-3)
    with pytest.raises(UserError, match="temperature 0.0 is not above zero"):
        jax.eval_shape(AdaptiveFusion(5, 0.0).init, jax.random.key(0), INPUTS)


def test_gated_unit_of_two_has_one_gate_and_its_complement():
    fused, params = run(GatedFusion(5), INPUTS)
    assert count(params) == 2 * (6 + 4) * 5  # V_i and the one W, as in the paper: no bias
    for row in range(4):
        present = means(INPUTS, row)
        terms = {n: np.tanh(dense(x, params[f"project_{n}"])) for n, x in present.items()}
        gates = dict.fromkeys(present, np.ones(5))
        if len(present) == 2:
            z = sigmoid(sum(dense(present[n], params["gate"][n]) for n in NAMES))
            gates = {"image": z, "text": 1 - z}
        expected = sum((gates[n] * terms[n] for n in present), np.zeros(5))
        np.testing.assert_allclose(fused.pooled[row], expected, atol=1e-5)
        for place, name in enumerate(NAMES):
            gate = gates.get(name, np.zeros(5))
            np.testing.assert_allclose(fused.extras["gates"][row, place], gate, atol=1e-5)


def test_gated_unit_of_two_with_one_left_out_equals_masking_it():
    _, params = run(GatedFusion(5), INPUTS)
    apply = jax.jit(GatedFusion(5).apply)
    for kept, gone in (NAMES, NAMES[::-1]):
        absent = Tokens(INPUTS[gone].x, jnp.zeros_like(INPUTS[gone].mask))
        masked = apply({"params": params}, INPUTS | {gone: absent})
        left_out = apply({"params": params}, {kept: INPUTS[kept]})
        np.testing.assert_allclose(left_out.pooled, masked.pooled, atol=1e-6)
        assert np.abs(left_out.pooled[0]).max() > 0


def test_gated_unit_of_three_has_a_gate_for_each():
    random = np.random.default_rng(0)
    vectors = {"a": random.normal(size=(3, 2)), "b": random.normal(size=(3, 3))}
    vectors["c"] = random.normal(size=(3, 4))
    fused, params = run(GatedFusion(5), one_token(**vectors))
    assert count(params) == (1 + 3) * (2 + 3 + 4) * 5
    expected = 0
    for place, name in enumerate(vectors):
        z = sigmoid(sum(dense(vectors[n], params[f"gate_{name}"][n]) for n in vectors))
        np.testing.assert_allclose(fused.extras["gates"][:, place], z, atol=1e-5)
        expected = expected + z * np.tanh(dense(vectors[name], params[f"project_{name}"]))
    np.testing.assert_allclose(fused.pooled, expected, atol=1e-5)


def test_a_saturated_gate_gives_exactly_the_other_modality():
    """The unit can ignore noise: the noisy modality then changes no bit."""
    random = np.random.default_rng(0)
    clean = np.abs(random.normal(size=(3, 4))) + 1
    quiet, loud = (one_token(clean=clean, noise=k * random.normal(size=(3, 2))) for k in (1, 9))
    _, params = run(GatedFusion(5), quiet)
    kernels = {"clean": {"kernel": jnp.full((4, 5), 50.0)}, "noise": {"kernel": jnp.zeros((2, 5))}}
    apply = jax.jit(GatedFusion(5).apply)
    first, other = (apply({"params": params | {"gate": kernels}}, x) for x in (quiet, loud))
    np.testing.assert_array_equal(first.pooled, other.pooled)
    np.testing.assert_array_equal(first.pooled, first.tokens.x[:, 0])
    np.testing.assert_allclose(
        first.pooled, np.tanh(dense(clean, params["project_clean"])), atol=1e-6
    )


def test_mlb_projects_the_product_of_the_present_modalities():
    fused, params = run(MlbFusion(5, rank=3), INPUTS)
    assert count(params) == (6 + 1) * 3 + (4 + 1) * 3 + (3 + 1) * 5
    for row in range(4):
        factors = {
            n: np.tanh(dense(x, params["product"][f"project_{n}"]))
            for n, x in means(INPUTS, row).items()
        }
        product = np.prod(list(factors.values()), axis=0) if factors else np.zeros(3)
        np.testing.assert_allclose(fused.pooled[row], dense(product, params["out"]), atol=1e-5)
        for place, name in enumerate(NAMES):
            factor = factors.get(name, np.zeros(3))
            np.testing.assert_allclose(fused.tokens.x[row, place], factor, atol=1e-5)


def test_mlb_is_bilinear_of_the_given_rank():
    random = np.random.default_rng(0)
    x, y = random.normal(size=6), random.normal(size=7)
    module = MlbFusion(4, rank=2, activation="identity")
    _, params = run(module, one_token(x=x[None], y=y[None]))

    def output(x, y):
        return module.apply({"params": params}, one_token(x=x[None], y=y[None])).pooled[0]

    forms = jax.jit(jax.jacrev(jax.jacrev(output), argnums=1))(jnp.asarray(x), jnp.asarray(y))
    sizes = np.linalg.svd(forms, compute_uv=False)
    assert forms.shape == (4, 6, 7)
    assert (sizes[:, 1] > 1e-3).all()
    np.testing.assert_allclose(sizes[:, 2:], 0, atol=1e-5)


POOLS = {"mean": np.mean, "max": np.max}


@pytest.mark.parametrize("pool", POOLS)
def test_early_is_deep_set_layers_over_the_real_tokens(pool):
    fused, params = run(EarlyConcatFusion(5, pool=pool, activation="tanh"), INPUTS)
    for row in range(4):
        x = np.concatenate(
            [
                dense(np.asarray(INPUTS[n].x[row])[MASKS[n][row]], params[f"project_{n}"])
                + params[f"modality_{n}"]
                for n in NAMES
            ]
        )
        real = np.concatenate([MASKS[n][row] for n in NAMES])
        np.testing.assert_array_equal(fused.tokens.mask[row], real)
        if not len(x):
            np.testing.assert_array_equal(fused.pooled[row], 0)
            continue
        for layer in range(2):
            shared = dense(POOLS[pool](x, axis=0), params[f"set_{layer}"])
            x = np.tanh(dense(x, params[f"token_{layer}"]) + shared)
        np.testing.assert_allclose(np.asarray(fused.tokens.x[row])[real], x, atol=1e-5)
        np.testing.assert_allclose(fused.pooled[row], POOLS[pool](x, axis=0), atol=1e-5)


def test_early_combines_modalities_in_the_first_layer_and_knows_no_order_of_tokens():
    module = EarlyConcatFusion(5, layers=1)
    fused, params = run(module, INPUTS)
    apply = jax.jit(module.apply)
    text = INPUTS["text"]
    other = apply({"params": params}, INPUTS | {"text": Tokens(text.x + 1, text.mask)})
    changed = np.abs(other.tokens.x - fused.tokens.x)[:, :2].max(-1) > 1e-4
    both = MASKS["text"].any(1, keepdims=True) & MASKS["image"]
    np.testing.assert_array_equal(changed, both)
    backwards = Tokens(text.x[:, ::-1], text.mask[:, ::-1])
    same = apply({"params": params}, INPUTS | {"text": backwards})
    np.testing.assert_allclose(same.pooled, fused.pooled, atol=1e-6)


@pytest.mark.parametrize(
    ("fusion", "message"),
    [
        (EarlyConcatFusion(5, pool="min"), "unknown pool 'min': choose one of max, mean"),
        (EarlyConcatFusion(5, activation="max"), "unknown activation 'max'"),
        (SumFusion(5, activation="max"), "unknown activation 'max'"),
        (ConvexFusion(5, activation="max"), "unknown activation 'max'"),
        (AdaptiveFusion(5, activation="max"), "unknown activation 'max'"),
        (MlbFusion(5, activation="max"), "unknown activation 'max'"),
    ],
)
def test_unknown_options_list_the_known(fusion, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(fusion.init, jax.random.key(0), INPUTS)
