"""Whether a run fits into memory, before it starts: XLA on a CPU may wait for ever for what is not.

Accelerators raise an error of their own.
"""

import math
from typing import Any

import jax
from jax.sharding import Mesh

from mmjax.errors import UserError
from mmjax.train.host import memory


def require_room_for_state(state: Any, mesh: Mesh) -> None:
    """Raises UserError if a state is larger than the memory.

    Args:
        state: its shapes, types and shardings.
        mesh: the devices that it is for.
    """
    per_device = sum(
        leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape))
        for leaf in jax.tree.leaves(state)
    )
    what = "the parameters and the optimizer's state take"
    _require(per_device, mesh, what, "make config.width or the model smaller")


def require_room_for_step(compiled: Any, mesh: Mesh) -> None:
    """Raises UserError if a compiled program needs more memory than there is."""
    found = compiled.memory_analysis()
    if found is None:  # not known of every platform
        return
    per_device = found.argument_size_in_bytes + found.output_size_in_bytes
    per_device += found.temp_size_in_bytes - found.alias_size_in_bytes
    advice = "lower the batch (config.data), config.width or the model's size"
    _require(per_device, mesh, "a training step takes", advice)


def _require(per_device: int, mesh: Mesh, what: str, advice: str) -> None:
    devices = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    if devices[0].platform != "cpu":
        return
    needed, there = per_device * len(devices), memory.limit()
    if needed > there:
        fewer = ", or set config.mesh.data=1" if len(devices) > 1 else ""
        raise UserError(
            f"out of memory: {what} {needed / 1e9:.1f} GB on {len(devices)} CPU devices, and this "
            f"process may have {there / 1e9:.1f} GB: {advice}{fewer}"
        )
