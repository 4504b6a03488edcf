"""How many devices share a batch, and what they sum over all of its rows."""

import math

import jax
from jaxtyping import Array, Float

from mmjax.types import DEVICES


def sharing(rows: int) -> int:
    """Into how many equal parts the rows fall so that each device has whole ones; 1 if unknown.

    The devices are those of the mesh that is set where this is traced (`jax.set_mesh`,
    `jax.sharding.use_abstract_mesh`); the trainer sets its own. Without, a loop over a batch that
    devices share still computes the same, but they exchange what it reads. Devices that each run
    the program for themselves (`jax.pmap`, `jax.shard_map`) share nothing.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return 1
    apart = math.prod(mesh.shape[axis] for axis in mesh.manual_axes)
    return math.gcd(rows, mesh.size // apart)


def over_all_rows(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """A sum over the rows that one sees -> the sum over all rows of the batch.

    They are the same, but under `jax.pmap(..., axis_name="batch")`: there each device sees its own
    rows only, and the sums of all are added.
    """
    apart = DEVICES in jax.sharding.get_abstract_mesh().manual_axes
    return jax.lax.psum(x, DEVICES) if apart else x
