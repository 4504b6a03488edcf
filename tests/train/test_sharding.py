import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from mmjax.errors import UserError
from mmjax.train import sharding


def test_on_cpu_minus_one_takes_as_many_devices_as_divide_the_rows():
    assert jax.device_count() == 8
    for rows, expected in (((64, 512), 8), ((6, 12), 6), ((7,), 7), ((11,), 1)):
        mesh = sharding.make_mesh(data=-1, fsdp=1, tensor=1, rows=rows)
        assert dict(mesh.shape) == {"data": expected, "fsdp": 1, "tensor": 1}
    mesh = sharding.make_mesh(data=-1, fsdp=2, tensor=2, rows=(8,))
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}


@pytest.mark.parametrize(
    ("axes", "rows", "words"),
    [
        ((3, 1, 1), (64,), r"64 rows cannot be divided over 3 devices.*\[1, 2, 4, 8\]"),
        ((16, 1, 1), (64,), "there are 8"),
        ((0, 1, 1), (64,), "config.mesh.data=0"),
        ((1, 0, 1), (64,), "config.mesh.fsdp=0"),
    ],
)
def test_what_cannot_be_divided_is_an_error(axes, rows, words):
    data, fsdp, tensor = axes
    with pytest.raises(UserError, match=words):
        sharding.make_mesh(data=data, fsdp=fsdp, tensor=tensor, rows=rows)


def test_big_arrays_are_divided_and_small_ones_are_everywhere():
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2, rows=(8,))
    shapes = {
        "kernel": jax.ShapeDtypeStruct((512, 256), jnp.float32),
        "odd": jax.ShapeDtypeStruct((301, 256), jnp.float32),
        "bias": jax.ShapeDtypeStruct((256,), jnp.float32),
    }
    specs = {k: s.spec for k, s in sharding.state_sharding(shapes, mesh).items()}
    assert specs["kernel"] == PartitionSpec("fsdp", "tensor")
    assert specs["odd"] == PartitionSpec(None, "tensor")
    assert specs["bias"] == PartitionSpec(None)


def test_a_batch_keeps_its_values_and_is_divided_by_rows():
    mesh = sharding.make_mesh(data=4, fsdp=2, tensor=1, rows=(8, 16))
    batch = {
        "image": np.arange(8 * 3, dtype=np.uint8).reshape(8, 3),
        "image_index": np.repeat(np.arange(8, dtype=np.int32), 2),
    }
    placed = sharding.put_batch(batch, mesh)
    for name, array in batch.items():
        assert placed[name].dtype == array.dtype
        np.testing.assert_array_equal(placed[name], array)
        assert {s.data.shape[0] for s in placed[name].addressable_shards} == {len(array) // 8}
