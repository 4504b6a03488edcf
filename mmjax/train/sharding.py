"""One program for all sizes: a mesh with axes data, fsdp and tensor, and what lies where."""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mmjax.errors import UserError

AXES = ("data", "fsdp", "tensor")
MIN_SHARDED = 2**14  # parameters with fewer elements are not worth the communication


def make_mesh(*, data: int, fsdp: int, tensor: int, rows: tuple[int, ...], devices=None) -> Mesh:
    """A mesh whose batch axes divide every number of rows.

    Args:
        data, fsdp, tensor: devices along each axis; data = -1 takes all that remain. On CPU,
            where devices are the process's own cores, -1 takes as many of them as divide the rows.
        rows: leading dimensions of a batch's arrays, over all processes.
        devices: default jax.devices().

    Raises:
        UserError: too few devices, rows that the devices do not divide, or several processes
            that would not share the rows evenly.
    """
    devices = jax.devices() if devices is None else devices
    for name, size in zip(AXES[1:], (fsdp, tensor), strict=True):
        if size < 1:
            raise UserError(f"config.mesh.{name}={size} must be at least 1")
    if data == 0 or data < -1:
        raise UserError(f"config.mesh.data={data} must be -1 (all devices) or at least 1")
    model = fsdp * tensor
    free = len(devices) // model
    if free < max(data, 1):
        raise UserError(
            f"config.mesh asks for {max(data, 1)}x{fsdp}x{tensor} devices (data x fsdp x tensor), "
            f"but there are {len(devices)}"
        )
    if data == -1:
        data = free
        if devices[0].platform == "cpu" and jax.process_count() == 1:
            data = next(
                n for n in range(free, 0, -1) if all(r % (n * fsdp) == 0 for r in rows) or n == 1
            )
    for count in rows:
        if count % (data * fsdp):
            divisors = [n for n in range(1, len(devices) + 1) if count % n == 0]
            raise UserError(
                f"a batch of {count} rows cannot be divided over {data * fsdp} devices; change the "
                f"batch (config.data) or set config.mesh.data to one of {divisors}"
            )
    # Each process feeds its own devices with its own share of the rows.
    if (data * fsdp) % jax.process_count():
        raise UserError(
            f"config.mesh {data}x{fsdp}x{tensor} (data x fsdp x tensor): {jax.process_count()} "
            "processes share the rows, so data * fsdp must be a multiple of that"
        )
    if jax.process_count() > 1 and data * model < len(devices):
        raise UserError(
            f"config.mesh {data}x{fsdp}x{tensor} leaves {len(devices) - data * model} of "
            f"{len(devices)} devices idle, which several processes cannot; set config.mesh.data=-1"
        )
    grid = np.asarray(devices[: data * model]).reshape(data, fsdp, tensor)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * 3)


def within(mesh: Mesh, function: Callable) -> Callable:
    """The same, traced with the mesh set, for what asks how many devices share a batch."""

    @functools.wraps(function)
    def run(*args, **options):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args, **options)

    return run


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis divided over the axes data and fsdp."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def state_sharding(shapes, mesh: Mesh, axes: Sequence[str] = ("tensor", "fsdp")):
    """Where each array of a state lies: big ones are divided, the rest is on every device.

    `tensor` divides the last axis that it divides, `fsdp` the largest remaining one. Optimizer
    state has the shapes of the parameters, so it is divided alike. What is not in `axes` divides
    nothing.
    """

    def spec(leaf):
        names: list[str | None] = [None] * leaf.ndim
        if leaf.size >= MIN_SHARDED:
            by_size = sorted(range(leaf.ndim), key=lambda i: leaf.shape[i], reverse=True)
            for name, order in (("tensor", range(leaf.ndim - 1, -1, -1)), ("fsdp", by_size)):
                size = mesh.shape[name]
                fits = [i for i in order if names[i] is None and leaf.shape[i] % size == 0]
                if size > 1 and fits:
                    names[fits[0]] = name if name in axes else None
        return NamedSharding(mesh, PartitionSpec(*names))

    return jax.tree.map(spec, shapes)


def gather_fsdp(params, mesh: Mesh):
    """Parameters as a model reads them, under jit: whole along `fsdp` if `tensor` divides, too.

    Fully sharded data parallelism divides them where they are kept and updated. Where it is left to
    XLA's partitioner and three axes divide the rows of x, the width of x and the columns of a
    kernel, it gets x @ kernel wrong without a word (https://github.com/openxla/xla/issues/40034,
    open with jax 0.10.2). With many rows it would gather them by itself.
    """
    if mesh.shape["fsdp"] == 1 or mesh.shape["tensor"] == 1:
        return params
    where = state_sharding(params, mesh, axes=("tensor",))
    return jax.lax.with_sharding_constraint(params, where)


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Sends this process's part of a batch to the devices as part of one global batch.

    Rows that `NAME_index` points to are counted within the process; here they become global.
    """
    sharding = batch_sharding(mesh)
    if jax.process_count() == 1:  # one call for all arrays takes half the time
        return jax.device_put(batch, sharding)

    def put(name, array):
        if name.endswith("_index"):
            rows = len(batch[name.removesuffix("_index")])
            array = array + np.int32(jax.process_index() * rows)
        return jax.make_array_from_process_local_data(sharding, array)

    return {name: put(name, array) for name, array in batch.items()}
