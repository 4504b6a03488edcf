"""What cannot be where each device has rows of its own: config.parallel = "pmap"."""

from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from mmjax.errors import UserError

WHERE = "config.parallel='pmap'"
OLDEST = (0, 8)  # the first jax whose pmap is made of jit and shard_map, as `train.parallel` needs
ELSE = "leave it out, or set config.parallel='auto'"


def check(config: ConfigDict) -> None:
    """Raises a UserError for what a device cannot do with its own rows and the whole state."""
    if config.parallel != "pmap":
        return
    if jax.__version_info__ < OLDEST:
        raise UserError(f"{WHERE} needs jax 0.8 or later, and this is {jax.__version__}: update it")
    for axis in ("fsdp", "tensor"):
        if config.mesh[axis] > 1:
            raise UserError(
                f"config.mesh.{axis}={config.mesh[axis]} divides parameters, of which {WHERE} has"
                f" all on each device: {ELSE}"
            )
    if config.mixup:
        raise UserError(
            f"config.mixup={config.mixup} mixes rows of the whole batch, and with {WHERE} a device"
            f" has its own: {ELSE}"
        )
    if config.get("matching") is not None:
        raise UserError(
            f"config.matching draws negatives from the whole batch, and with {WHERE} a device has"
            f" its own rows: {ELSE}"
        )


def check_outputs(config: ConfigDict, outputs: Mapping[str, Any]) -> None:
    """Raises a UserError for an output that is neither a number nor has a row for each example.

    Args:
        outputs: shapes of the model's outputs for one example.
    """
    if config.parallel != "pmap":
        return
    for name, x in outputs.items():
        if x.ndim and x.shape[0] != 1:
            raise UserError(
                f"{WHERE} puts together what the model gives on each device, and {name!r}"
                f" {list(x.shape)} of one example has no row for it: set config.parallel='auto'"
            )
