"""Predictions by all devices of a process: each takes a share of the rows."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MIN_VALUES = 2**20  # numbers in the variables, from which several devices are called


class DataParallel:
    """A jitted function of variables and inputs, by one device or by all of this process.

    All are used if they divide the rows and the variables have at least MIN_VALUES numbers. Then
    each keeps all variables, and the results lie on all devices, too. On a CPU there is one device,
    unless `mmjax.cli.prepare_devices()` has made one of each core before jax was used.

    Args:
        function: (variables, inputs, **options) -> a tree of arrays. The first axis of each input
            is that of the rows.
        options: of jax.jit.
    """

    def __init__(self, function: Callable, **options: Any):
        self._apply = jax.jit(function, **options)
        self._given: list[Any] = []
        self._copies: Any = None

    def __call__(self, variables: Any, inputs: Any, **options: Any) -> Any:
        """The results for `inputs`, a tree of arrays; the options are static."""
        devices = jax.local_devices()
        given = jax.tree.leaves(variables)
        divided = all(x.ndim and x.shape[0] % len(devices) == 0 for x in jax.tree.leaves(inputs))
        if len(devices) == 1 or not divided or sum(x.size for x in given) < MIN_VALUES:
            return self._apply(variables, inputs, **options)
        mesh = Mesh(devices, ("rows",), axis_types=(AxisType.Auto,))
        if [id(x) for x in given] != [id(x) for x in self._given]:
            self._copies = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))
            self._given = given
        inputs = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec("rows")))
        return self._apply(self._copies, inputs, **options)
