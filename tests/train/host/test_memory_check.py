"""What does not fit into memory is refused before it starts."""

import jax
import jax.numpy as jnp
import pytest

from mmjax.errors import UserError
from mmjax.train import sharding
from mmjax.train.host import memory, memory_check


def state_of(mesh, shape):
    """Shapes of a state of two arrays, float32."""
    leaves = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name in "ab"}
    shardings = sharding.state_sharding(leaves, mesh)
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), leaves, shardings
    )


@pytest.mark.parametrize(("data", "fsdp", "copies"), [(1, 1, 1), (4, 1, 4), (1, 4, 1), (2, 4, 2)])
def test_a_state_is_counted_once_for_each_device_that_has_a_copy(monkeypatch, data, fsdp, copies):
    mesh = sharding.make_mesh(data=data, fsdp=fsdp, tensor=1, rows=(8,))
    state, size = state_of(mesh, (256, 256)), copies * 2 * 4 * 256 * 256
    monkeypatch.setattr(memory, "limit", lambda: size)
    memory_check.require_room_for_state(state, mesh)
    monkeypatch.setattr(memory, "limit", lambda: size - 1)
    with pytest.raises(UserError, match=r"out of memory: .*config\.width"):
        memory_check.require_room_for_state(state, mesh)


def test_a_step_is_counted_with_what_it_needs_in_between(monkeypatch):
    mesh = sharding.make_mesh(data=1, fsdp=1, tensor=1, rows=(8,))
    x = jax.ShapeDtypeStruct((1000, 1), jnp.float32)
    compiled = jax.jit(lambda x: jnp.sort(x + x.T, axis=0).sum()).lower(x).compile()
    monkeypatch.setattr(memory, "limit", lambda: 4 * 1000 * 1000)
    with pytest.raises(UserError, match="a training step takes"):
        memory_check.require_room_for_step(compiled, mesh)
    monkeypatch.setattr(memory, "limit", lambda: 40 * 1000 * 1000)
    memory_check.require_room_for_step(compiled, mesh)
