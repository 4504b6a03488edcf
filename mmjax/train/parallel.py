"""A training step on several devices: one program for all, or the same one on each of them.

`auto` leaves to XLA what devices exchange. Under `pmap` it is written out:

- Each device applies the model to its own rows, and outputs and targets are gathered: losses,
  metrics and weights of tasks are those of the whole batch, computed by each device again.
- So each device has the loss L of all rows, and what was gathered goes back to where it came from
  summed over the devices, each of which says the same. By its own rows a device derives L as many
  times as there are devices, and by a parameter that a loss reads itself once. The mean over the
  devices is the gradient of L in both cases.
- All devices apply it, and have the same state, bit for bit.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mmjax.errors import UserError
from mmjax.train import sharding
from mmjax.train.step import Exchange, as_it_is
from mmjax.types import DEVICES, Batch

INDEX = "_index"  # how the keys of a batch end that say which row of an input an example uses


class Program(NamedTuple):
    """A training step on devices.

    step: (state, batch) -> (state, metrics); the memory of the state is used again.
    lower: of the same arguments, as that of `jax.jit`.
    put: sends this process's part of a batch, as numpy arrays, to the devices.
    whole: a state after a step, or a part of it -> the same as arrays of all processes, which is
        what is evaluated and saved.
    shardings: where the arrays of a whole state lie.
    """

    step: Callable[[Any, Batch], tuple[Any, Any]]
    lower: Callable[[Any, Batch], jax.stages.Lowered]
    put: Callable[[dict[str, np.ndarray]], Batch]
    whole: Callable[[Any], Any]
    shardings: Any


def auto(step: Callable, shapes: Any, mesh: Mesh, **options: Any) -> Program:
    """One program for the whole mesh (`jax.jit`).

    Args:
        step: see `train_step`.
        shapes: of the state.
        mesh: the devices.
        options: of the step.
    """
    shardings = sharding.state_sharding(shapes, mesh)
    gather = functools.partial(sharding.gather_fsdp, mesh=mesh)
    run = jax.jit(
        functools.partial(sharding.within(mesh, step), gather=gather, **options),
        donate_argnums=0,
        out_shardings=(shardings, None),
    )
    put = functools.partial(sharding.put_batch, mesh=mesh)
    return Program(run, run.lower, put, as_it_is, shardings)


def pmap(step: Callable, shapes: Any, mesh: Mesh, **options: Any) -> Program:
    """The same program on each device, with rows of its own (`jax.pmap`); see `auto`.

    The axis of the devices is called "batch". The whole state is on each of them.
    """
    row = Mesh(mesh.devices.reshape(-1), (DEVICES,))
    run = jax.pmap(
        functools.partial(step, exchange=EXCHANGE, **options),
        axis_name=DEVICES,
        in_axes=(None, 0),
        out_axes=None,
        donate_argnums=0,
        devices=list(row.devices),
    )

    return Program(
        lambda state, batch: run(_lying_on(row.local_mesh, state), batch),
        lambda state, batch: run.lower(_lying_on(row.local_mesh, state), batch),
        functools.partial(put_apart, mesh=row),
        functools.partial(_lying_on, row),
        jax.tree.map(lambda _: sharding.replicated(row), shapes),
    )


PARALLEL: Mapping[str, Callable[..., Program]] = {"auto": auto, "pmap": pmap}


def put_apart(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Sends the rows of this process to its devices: [n ...] -> [devices, n / devices ...].

    Rows that `NAME_index` points to are counted within the process; here, within the device.

    Args:
        batch: numpy arrays whose rows the devices divide.
        mesh: the devices of all processes, in a row.

    Raises:
        UserError: an example uses a row of an input that another device has.
    """
    devices = mesh.local_mesh
    parts = {
        name: x.reshape(devices.size, len(x) // devices.size, *x.shape[1:])
        for name, x in batch.items()
    }
    for name in (name for name in parts if name.endswith(INDEX)):
        rows = parts[name.removesuffix(INDEX)].shape[1]
        parts[name] = parts[name] - rows * np.arange(devices.size, dtype=np.int32)[:, None]
        if np.any((parts[name] < 0) | (parts[name] >= rows)):
            raise UserError(
                f"config.parallel='pmap': by {name!r} examples use rows of"
                f" {name.removesuffix(INDEX)!r} that another device has; set config.parallel='auto'"
            )
    return jax.device_put(parts, NamedSharding(devices, PartitionSpec(DEVICES)))


def _lying_on(mesh: Mesh, tree: Any) -> Any:
    """Arrays that are the same on each device, as those of this process's devices or of all.

    Where there are several processes, `jax.pmap` takes and gives the former, and all else the
    latter. Nothing is copied.
    """
    if jax.process_count() == 1:
        return tree
    where = sharding.replicated(mesh)

    def same(x: jax.Array) -> jax.Array:
        if x.sharding == where:
            return x
        parts = [shard.data for shard in x.addressable_shards]
        return jax.make_array_from_single_device_arrays(x.shape, where, parts)

    return jax.tree.map(same, tree)


def _of_device(key: jax.Array) -> jax.Array:
    return jax.random.fold_in(key, jax.lax.axis_index(DEVICES))


def _gathered(tree: Any) -> Any:
    return jax.tree.map(
        lambda x: jax.lax.all_gather(x, DEVICES, tiled=True) if jnp.ndim(x) else x, tree
    )


def _batch_of_all(batch: Batch) -> Batch:
    """The rows of all devices; rows that `NAME_index` points to are counted over all of them."""
    device = jax.lax.axis_index(DEVICES)
    shifted = {
        name: batch[name] + device * batch[name.removesuffix(INDEX)].shape[0]
        for name in batch
        if name.endswith(INDEX)
    }
    return _gathered({**batch, **shifted})


def _mean(tree: Any) -> Any:
    """The mean over the devices; whole numbers, such as counts, are the same on all of them."""

    def mean(x: jax.Array) -> jax.Array:
        return jax.lax.pmean(x, DEVICES) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(mean, tree)


EXCHANGE = Exchange(key=_of_device, batch=_batch_of_all, rows=_gathered, mean=_mean)
