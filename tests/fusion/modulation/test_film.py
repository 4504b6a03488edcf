"""FiLM against plain numpy, and what is left of it without a condition or a target."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.fusion.modulation.film import FilmFusion
from mmjax.types import Tokens
from tests.fusion.oracle import MASKS, means, run, tokens

WIDTH, LAYERS = 5, 2
INPUTS = tokens(width=6, text_width=4)


def parts(params, name):
    return {k: params[f"{k}_{name}"] for k in ("project", "film", "layers")}


def plain_film(row, params, target, other):
    """The modulated tokens of one example; one token of zeros stands for an absent target."""
    own = parts(params, target)
    x = np.asarray(INPUTS[target].x[row])[MASKS[target][row]] @ own["project"]["kernel"]
    if not len(x):
        x = np.zeros((1, WIDTH))
    gamma, beta = np.ones((LAYERS, WIDTH)), np.zeros((LAYERS, WIDTH))
    condition = means(INPUTS, row).get(other)
    if condition is not None:
        film = (condition @ own["film"][other]["kernel"]).reshape(2, LAYERS, WIDTH)
        gamma, beta = gamma + film[0], beta + film[1]
    for layer in range(LAYERS):
        dense = own["layers"][f"dense_{layer}"]
        y = x @ dense["kernel"] + dense["bias"]
        y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
        x = x + np.maximum(gamma[layer] * y + beta[layer], 0)
    return x


@pytest.mark.parametrize(("target", "other"), [("image", "text"), ("text", "image")])
def test_a_target_is_modulated_by_the_other_modality(target, other):
    fused, params = run(FilmFusion(WIDTH, target, LAYERS), INPUTS)
    assert set(params) == {f"{k}_{target}" for k in ("project", "film", "layers")}
    assert {n: p["kernel"].size for n, p in params[f"film_{target}"].items()} == {
        other: INPUTS[other].x.shape[-1] * 2 * LAYERS * WIDTH
    }
    for row in range(4):
        expected = plain_film(row, params, target, other)
        np.testing.assert_allclose(fused.pooled[row], expected.mean(0), atol=1e-5)
        real = np.asarray(fused.tokens.mask[row])
        np.testing.assert_array_equal(real, MASKS[target][row])
        np.testing.assert_array_equal(fused.tokens.x[row][~real], 0)
        np.testing.assert_allclose(fused.tokens.x[row][real], expected[: real.sum()], atol=1e-5)


def test_without_a_target_each_is_one_and_the_results_are_averaged():
    fused, params = run(FilmFusion(WIDTH, layers=LAYERS), INPUTS)
    for row in range(4):
        present = means(INPUTS, row)
        pairs = [("image", "text"), ("text", "image")]
        results = [plain_film(row, params, *p).mean(0) for p in pairs if p[0] in present]
        expected = np.mean(results, axis=0) if results else np.zeros(WIDTH)
        np.testing.assert_allclose(fused.pooled[row], expected, atol=1e-5)


@pytest.mark.parametrize("gone", ["image", "text"])
def test_target_or_condition_left_out_equals_masking_it(gone):
    module = FilmFusion(WIDTH, "image", LAYERS)
    _, params = run(module, INPUTS)
    apply = jax.jit(module.apply)
    absent = Tokens(INPUTS[gone].x, jnp.zeros_like(INPUTS[gone].mask))
    masked = apply({"params": params}, INPUTS | {gone: absent})
    left_out = apply({"params": params}, {n: t for n, t in INPUTS.items() if n != gone})
    np.testing.assert_allclose(left_out.pooled, masked.pooled, atol=1e-6)
    np.testing.assert_array_equal(left_out.tokens.mask.any(1), masked.tokens.mask.any(1))


def test_without_a_condition_the_generator_changes_no_bit():
    module = FilmFusion(WIDTH, "image", LAYERS)
    fused, params = run(module, INPUTS)
    film = jax.tree.map(lambda p: 3 * p, params["film_image"])
    other = jax.jit(module.apply)({"params": params | {"film_image": film}}, INPUTS)
    changed = np.abs(other.pooled - fused.pooled).max(-1) > 0
    np.testing.assert_array_equal(changed, MASKS["text"].any(1))


def test_with_a_target_masked_content_is_nothing():
    module = FilmFusion(WIDTH, "image", LAYERS)
    _, params = run(module, INPUTS)

    @jax.jit
    def step(content):
        def loss(content):
            inputs = {n: Tokens(content[n], INPUTS[n].mask) for n in content}
            fused = module.apply({"params": params}, inputs)
            return (fused.pooled**3).sum() + (fused.tokens.x**3).sum(), fused

        return jax.grad(loss, has_aux=True)(content)

    clean = {n: t.x for n, t in INPUTS.items()}
    dirty = {n: jnp.where(MASKS[n][..., None], x, jnp.nan) for n, x in clean.items()}
    jax.tree.map(np.testing.assert_array_equal, step(dirty), step(clean))
    for name, gradient in step(clean)[0].items():
        np.testing.assert_array_equal(np.asarray(gradient)[~MASKS[name]], 0)
    everything = np.abs(step(clean)[0]["text"])[MASKS["text"]]
    assert everything.max(-1).min() > 0


def test_mistakes():
    with pytest.raises(UserError, match="target 'imag' is not a modality: choose one of image, te"):
        jax.eval_shape(FilmFusion(WIDTH, "imag").init, jax.random.key(0), INPUTS)
    with pytest.raises(UserError, match="unknown activation 'max'"):
        jax.eval_shape(FilmFusion(WIDTH, activation="max").init, jax.random.key(0), INPUTS)
