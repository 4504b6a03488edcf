"""The switch of the fast forms: what is on where, and that nothing else chooses by the process."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn import kernels
from mmjax.nn.layers.layer_norm import layer_norm

ROOT = Path(__file__).parents[3]
X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
BARRIER = "stablehlo.optimization_barrier"  # in the fast form only


def total(x):
    return jnp.sum(layer_norm(x, jnp.ones(4), jnp.zeros(4), 1e-6) ** 3)


def programs(function):
    """The program of a new trace of it, for a CPU and for a TPU."""
    traced = jax.jit(lambda x: function(x)).trace(X)
    return [traced.lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "tpu")]


@pytest.mark.parametrize("function", [total, jax.grad(total), jax.grad(lambda x: total(x * x))])
def test_a_program_holds_the_form_of_its_platform_only(function):
    cpu, tpu = programs(function)
    assert BARRIER in cpu
    assert BARRIER not in tpu
    with kernels.use(False):
        cpu, tpu = programs(function)
    assert BARRIER not in cpu
    assert cpu == tpu


def test_fast_forms_have_no_forward_mode_and_plain_ones_do():
    def forward(x):
        return jax.jvp(total, (x,), (jnp.ones_like(x),))[1]

    with pytest.raises(TypeError, match="forward-mode"):
        jax.jit(lambda x: forward(x))(X)
    with kernels.use(False):
        found = forward(X)
    np.testing.assert_allclose(found, jnp.sum(jax.grad(total)(X)), atol=1e-4)


def test_switches_nest_and_end():
    with kernels.use(False):
        with kernels.use(True):
            assert BARRIER in programs(total)[0]
        assert BARRIER not in programs(total)[0]
        with pytest.raises(ZeroDivisionError), kernels.use(True):
            raise ZeroDivisionError
        assert BARRIER not in programs(total)[0]
    assert BARRIER in programs(total)[0]


@pytest.mark.parametrize(("value", "expected"), [("0", "False"), ("1", "True")])
def test_the_environment_sets_the_default(value, expected):
    code = "from mmjax.nn.kernels import switch; print(switch._enabled.get())"
    environment = os.environ | {"MMJAX_KERNELS": value, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [expected]


def test_derivatives_by_hand_are_in_the_kernels_only():
    """But for a jvp, which both modes can use; and no pure function asks what it runs on."""
    for file in (ROOT / "mmjax").rglob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text()))
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        inside = "kernels" in file.parts
        assert inside or not names & {"custom_vjp", "platform_dependent"}, file
        assert not names & {"default_backend", "device_count"}, file
