"""The multimodal transfer module against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.fusion.modulation.mmtm import MmtmFusion
from mmjax.types import Tokens
from tests.fusion.oracle import MASKS, run, tokens


def dense(x, params):
    return x @ params["kernel"] + params["bias"]


def test_mmtm_gates_channels_by_the_joint_squeeze():
    inputs = tokens(width=6, text_width=4)
    fused, params = run(MmtmFusion(6, squeeze=5), inputs)
    for row in range(4):
        real = {name: np.asarray(inputs[name].x)[row][MASKS[name][row]] for name in inputs}
        real["text"] = dense(real["text"], params["project_text"])
        joint = params["squeeze"]["bias"]
        for name, x in real.items():
            if len(x):
                joint = joint + x.mean(0) @ params["squeeze"][name]["kernel"]
        joint = np.maximum(joint, 0)
        gates = {n: 2 / (1 + np.exp(-dense(joint, params[f"excite_{n}"]))) for n in real}
        gated = {name: x * gates[name] for name, x in real.items()}
        np.testing.assert_allclose(
            np.asarray(fused.tokens.x[row])[fused.tokens.mask[row]],
            np.concatenate([gated["image"], gated["text"]]),
            atol=1e-5,
        )
        means = [x.mean(0) for x in gated.values() if len(x)]
        expected = np.mean(means, axis=0) if means else np.zeros(6)
        np.testing.assert_allclose(fused.pooled[row], expected, atol=1e-5)
        for place, name in enumerate(("image", "text")):
            gate = gates[name] if len(real[name]) else np.zeros(6)
            np.testing.assert_allclose(fused.extras["gates"][row, place], gate, atol=1e-5)


def test_mmtm_has_the_parameters_of_the_paper():
    """A joint embedding of (C_A + C_B) / 4 channels, three dense layers with biases."""
    inputs = {n: Tokens(jnp.zeros((1, 2, 512)), jnp.ones((1, 2), bool)) for n in "ab"}
    shapes = jax.eval_shape(MmtmFusion(512).init, jax.random.key(0), inputs)
    joint = (512 + 512) // 4
    expected = (1024 * joint + joint) + 2 * (joint * 512 + 512)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected
