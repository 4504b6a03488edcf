"""Bottlenecks, latents and levels, one example at a time without its pads, and what flows where."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.fusion.attention.bottleneck import BottleneckFusion
from mmjax.fusion.attention.hierarchical import HierarchicalFusion
from mmjax.fusion.attention.perceiver import PerceiverFusion
from mmjax.nn.layers.transformer import Block
from mmjax.types import Tokens
from tests.fusion.oracle import MASKS, layer_norm, run, tokens

NAMES = ("image", "text")
apply_block = jax.jit(Block(heads=2).apply)


def block(params, x):
    return apply_block({"params": params}, jnp.asarray(x)[None])[0]


def norm(x, params):
    return np.stack([layer_norm(np.asarray(row), params) for row in x])


def dense(x, params):
    return x @ np.asarray(params["kernel"]) + np.asarray(params["bias"])


def embedded(inputs, params, row):
    """The real tokens of each present modality as a stream enters the blocks."""
    streams = {}
    for name in NAMES:
        real = MASKS[name][row]
        if real.any():
            x = np.asarray(inputs[name].x)[row][real]
            if f"project_{name}" in params:
                x = dense(x, params[f"project_{name}"])
            places = np.asarray(params[f"positions_{name}"]["embedding"])[real]
            streams[name] = x + places + np.asarray(params[f"modality_{name}"])
    return streams


def test_bottleneck_mixes_streams_through_the_mean_of_shared_tokens():
    inputs = tokens(width=8, text_width=4)
    module = BottleneckFusion(8, layers=3, fusion_start=1, bottlenecks=2, heads=2)
    fused, params = run(module, inputs)
    for row in range(4):
        streams = {
            name: np.concatenate([params[f"class_{name}"], x])
            for name, x in embedded(inputs, params, row).items()
        }
        shared = np.asarray(params["bottlenecks"])
        for layer in range(3):
            written = []
            for name, x in streams.items():
                joined = np.concatenate([x, shared]) if layer >= 1 else x
                y = block(params[f"{name}_block_{layer}"], joined)
                streams[name] = y[: len(x)]
                written.append(y[len(x) :])
            if layer >= 1 and written:
                shared = np.mean(written, axis=0)
        streams = {name: norm(x, params[f"norm_{name}"]) for name, x in streams.items()}
        real = np.asarray(fused.tokens.mask[row])
        assert real.sum() == sum(len(x) for x in streams.values())
        if not streams:
            np.testing.assert_array_equal(fused.pooled[row], 0)
            continue
        expected = np.concatenate(list(streams.values()))
        np.testing.assert_allclose(np.asarray(fused.tokens.x[row])[real], expected, atol=2e-5)
        classes = np.mean([x[0] for x in streams.values()], axis=0)
        np.testing.assert_allclose(fused.pooled[row], classes, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "flows"),
    [
        ({"fusion_start": 0, "bottlenecks": 0}, False),
        ({"fusion_start": 1}, False),
        ({"fusion_start": 0}, True),
    ],
)
def test_modalities_meet_in_bottlenecks_alone_and_from_the_second_fused_layer(options, flows):
    inputs = tokens(8)
    module = BottleneckFusion(8, layers=2, heads=2, **options)
    _, params = run(module, inputs)

    @jax.jit
    @jax.grad
    def gradient(image):
        given = inputs | {"image": Tokens(image, inputs["image"].mask)}
        # The stream of the text begins after the class token and tokens of the image.
        text = module.apply({"params": params}, given).tokens.x[:, 1 + image.shape[1] :]
        return (text**3).sum()

    both = np.asarray(gradient(inputs["image"].x))[0]
    assert (np.abs(both).max() > 1e-6) == flows
    if not flows:
        np.testing.assert_array_equal(both, 0)


def test_bottlenecks_add_few_parameters():
    inputs = tokens(8)

    def count(bottlenecks):
        module = BottleneckFusion(64, layers=2, fusion_start=0, bottlenecks=bottlenecks)
        shapes = jax.eval_shape(module.init, jax.random.key(0), inputs)
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    assert count(4) - count(0) == 4 * 64


def test_bottleneck_tells_of_a_fusion_start_beyond_the_layers():
    module = BottleneckFusion(8, layers=2, fusion_start=3)
    with pytest.raises(UserError, match="fusion_start 3 with 2 layers: choose one from 0 to 2"):
        jax.eval_shape(module.init, jax.random.key(0), tokens(8))


@pytest.mark.parametrize(("share", "reads"), [(False, "every"), (True, "every"), (False, "first")])
def test_perceiver_latents_read_the_real_tokens(share, reads):
    inputs = tokens(width=8, text_width=4)
    module = PerceiverFusion(
        8, latents=3, repeats=2, share=share, reads=reads, cross_heads=2, heads=2
    )
    fused, params = run(module, inputs)
    read = jax.jit(Block(heads=2, self_attention=False).apply)
    for row in range(4):
        streams = embedded(inputs, params, row)
        x = np.asarray(params["latents"])
        for turn in range(2):
            if streams and (turn == 0 or reads == "every"):
                cross = params[f"cross_{min(turn, 1) if share else turn}"]
                context = norm(np.concatenate(list(streams.values())), cross["context_norm"])
                variables = {"params": cross["cross_block"]}
                x = read(variables, x[None], context=context[None].astype(np.float32))[0]
            x = block(params["block_0" if share else f"block_{turn}_0"], x)
        x = norm(x, params["norm"])
        np.testing.assert_allclose(fused.tokens.x[row], x, atol=2e-5)
        np.testing.assert_allclose(fused.pooled[row], np.mean(x, axis=0), atol=2e-5)
    blocks = {name for name in params if name.startswith(("block", "cross"))}
    assert (
        len(blocks) == {(True, "every"): 3, (False, "every"): 4, (False, "first"): 3}[share, reads]
    )


def test_perceiver_does_not_see_the_order_of_tokens_without_positions():
    inputs = tokens(8)
    module = PerceiverFusion(8, latents=3, heads=2)
    _, params = run(module, inputs)
    without = params | {
        f"positions_{name}": jax.tree.map(jnp.zeros_like, params[f"positions_{name}"])
        for name in NAMES
    }
    x, mask = inputs["text"]
    permuted = inputs | {"text": Tokens(x[:, ::-1], mask[:, ::-1])}
    apply = jax.jit(module.apply)
    for variables, same in [({"params": without}, True), ({"params": params}, False)]:
        one, other = (apply(variables, given).pooled for given in (inputs, permuted))
        assert np.allclose(one, other, atol=1e-5) == same


def test_perceiver_costs_grow_with_the_number_of_tokens_alone():
    module = PerceiverFusion(16, latents=4)

    @functools.cache
    def flops(length):
        given = {"text": Tokens(jnp.zeros((1, length, 16)), jnp.ones((1, length), bool))}
        variables = jax.eval_shape(module.init, jax.random.key(0), given)
        return jax.jit(module.apply).lower(variables, given).cost_analysis()["flops"]

    assert flops(256) - flops(128) == 2 * (flops(128) - flops(64))


def test_hierarchical_states_read_all_depths():
    inputs = tokens(width=8, text_width=4)
    module = HierarchicalFusion(8, layers=2, heads=2, activation="tanh")
    fused, params = run(module, inputs)
    for row in range(4):
        streams = embedded(inputs, params, row)
        states = []
        for depth in range(2):
            cell = params[f"state_{depth}"]
            total = np.asarray(cell["bias"])
            if states:
                total = total + states[-1] @ np.asarray(cell["below"]["kernel"])
            for name in streams:
                streams[name] = block(params[f"{name}_block_{depth}"], streams[name])
                mean = norm(streams[name], params[f"{name}_norm_{depth}"]).mean(0)
                total = total + mean @ np.asarray(cell[f"from_{name}"]["kernel"])
            states.append(np.tanh(total))
        assert np.asarray(fused.tokens.mask[row]).all() == bool(streams)
        if streams:
            np.testing.assert_allclose(fused.tokens.x[row], np.stack(states), atol=2e-5)
        expected = dense(np.concatenate(states), params["combine"])
        np.testing.assert_allclose(fused.pooled[row], expected, atol=5e-5)
