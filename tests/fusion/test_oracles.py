"""Fusions against plain numpy, one example at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.fusion.attention.transformer import TransformerFusion
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.fusion.pooling.multiply import MultiplyFusion
from mmjax.nn.layers.transformer import Transformer
from mmjax.types import Tokens
from tests.fusion.oracle import MASKS, layer_norm, means, run, tokens


def test_concat_is_a_dense_layer_over_the_concatenated_means():
    inputs = tokens(width=6, text_width=4)
    fused, params = run(ConcatFusion(5, activation="tanh"), inputs)
    kernel = np.concatenate([params[f"project_{n}"]["kernel"] for n in ("image", "text")])
    for row in range(4):
        present = means(inputs, row)
        zeros = {"image": np.zeros(6), "text": np.zeros(4)}
        joint = np.concatenate([present.get(n, zeros[n]) for n in ("image", "text")])
        expected = np.tanh(joint @ kernel + params["bias"])
        np.testing.assert_allclose(fused.pooled[row], expected, atol=1e-6)
        for place, name in enumerate(("image", "text")):
            part = present.get(name, zeros[name]) @ params[f"project_{name}"]["kernel"]
            np.testing.assert_allclose(fused.tokens.x[row, place], part, atol=1e-6)
            assert fused.tokens.mask[row, place] == (name in present)


def test_concat_starts_with_the_variance_of_one_dense_layer():
    inputs = {
        name: Tokens(
            jnp.asarray(np.random.default_rng(i).normal(size=(512, 1, 64)), jnp.float32),
            jnp.ones((512, 1), bool),
        )
        for i, name in enumerate("abcd")
    }
    module = ConcatFusion(128, activation="identity")
    fused, _ = jax.jit(module.init_with_output)(jax.random.key(0), inputs)
    np.testing.assert_allclose(fused.pooled.var(), 1, atol=0.1)


@pytest.mark.parametrize(("project", "norm"), [(True, True), (True, False), (False, True)])
def test_multiply_is_the_product_over_present_modalities(project, norm):
    inputs = tokens()
    fused, params = run(MultiplyFusion(6, project=project, norm=norm), inputs)
    for row in range(4):
        factors = means(inputs, row)
        if project and norm:
            factors = {n: layer_norm(x, params[f"norm_{n}"]) for n, x in factors.items()}
        if project:
            factors = {
                n: np.tanh(x @ params[f"project_{n}"]["kernel"] + params[f"project_{n}"]["bias"])
                for n, x in factors.items()
            }
        expected = np.prod(list(factors.values()), axis=0) if factors else np.zeros(6)
        np.testing.assert_allclose(fused.pooled[row], expected, atol=1e-5)
        for place, name in enumerate(("image", "text")):
            np.testing.assert_allclose(
                fused.tokens.x[row, place], factors.get(name, np.zeros(6)), atol=1e-5
            )
    assert bool(params) == project


def test_multiply_without_projection_needs_equal_widths():
    with pytest.raises(UserError, match="'text' has width 4, the fusion 6"):
        MultiplyFusion(6, project=False).init(jax.random.key(0), tokens(6, text_width=4))


def test_transformer_runs_over_the_concatenated_real_tokens():
    """One example without its pads, through the same parameters by hand."""
    inputs = tokens(width=8, text_width=4)
    module = TransformerFusion(8, layers=1, heads=2, fusion_tokens=2)
    fused, params = run(module, inputs)
    stack = Transformer(layers=1, heads=2)
    for row in range(4):
        parts = [params["fusion_tokens"]]
        for name in ("image", "text"):
            real = MASKS[name][row]
            x = inputs[name].x[row][real]
            if name == "text":
                dense = params["project_text"]
                x = x @ dense["kernel"] + dense["bias"]
            places = params[f"positions_{name}"]["embedding"][real]
            parts.append(x + places + params[f"modality_{name}"])
        sequence = jnp.concatenate(parts)[None]
        expected = jax.jit(stack.apply)({"params": params["transformer"]}, sequence)[0]
        np.testing.assert_allclose(fused.pooled[row], expected[:2].mean(0), atol=1e-5)
        real = np.asarray(fused.tokens.mask[row])
        np.testing.assert_allclose(np.asarray(fused.tokens.x[row])[real], expected, atol=1e-5)


def test_transformer_takes_shorter_sequences_but_not_longer_ones():
    inputs = tokens(8)
    module = TransformerFusion(8, layers=1, heads=2)
    _, params = run(module, inputs)
    variables = {"params": params}
    text = inputs["text"]
    cut = inputs | {"text": Tokens(text.x[:, :2], text.mask[:, :2])}
    pads = inputs | {"text": Tokens(text.x, text.mask.at[:, 2].set(False))}
    apply = jax.jit(module.apply)
    np.testing.assert_allclose(
        apply(variables, cut).pooled, apply(variables, pads).pooled, atol=1e-5
    )
    longer = Tokens(jnp.tile(text.x, (1, 2, 1)), jnp.tile(text.mask, (1, 2)))
    with pytest.raises(UserError, match=r"positions_text: a sequence of 6 tokens.*made for 3"):
        module.apply(variables, inputs | {"text": longer})


@pytest.mark.parametrize(
    "fusion", [ConcatFusion(6, activation="max"), MultiplyFusion(6, activation="max")]
)
def test_unknown_activation_lists_the_known(fusion):
    with pytest.raises(UserError, match="unknown activation 'max': choose one of gelu, gelu_exact"):
        fusion.init(jax.random.key(0), tokens())
