"""All that a training run carries from one step to the next."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax.errors import UserError
from mmjax.train.partition import fill, map_selected, select


@flax.struct.dataclass
class TrainState:
    """The state of a run; a pytree.

    step: how many batches were seen, skipped ones included.
    params: parameters, float32.
    ema_params: the exponential moving average of those that train, or None if it is not used.
    model_state: the model's other variables by collection, such as the running statistics of
        batch norms; {} for a model that has none.
    opt_state: the optimizer's.
    key: the root random key; each step folds its number into it.
    skipped: how many steps were not applied because a loss or gradient was not finite.
    skipped_in_a_row: how many of them came last.
    weighting: the state of the weighting of tasks, or of a loss of features (see train.weighting);
        None if it has none.
    """

    # Fields hold arrays, or in trees of the same form shapes, shardings and the like: hence Any.
    step: Any
    params: Any
    ema_params: Any
    model_state: Any
    opt_state: Any
    key: Any
    skipped: Any
    skipped_in_a_row: Any
    weighting: Any = None

    @property
    def eval_variables(self) -> dict[str, Any]:
        """What to evaluate and to use: the moving average of the parameters if there is one."""
        average = self.ema_params
        params = self.params if average is None else fill(average, self.params)
        return {"params": params, **self.model_state}


def create_state(
    variables: Mapping[str, Any],
    optimizer: optax.GradientTransformation,
    seed: int,
    *,
    ema: bool = False,
    trains: Any = None,
    weighting: Any = None,
) -> TrainState:
    """A state at step 0.

    Args:
        variables: what the model's `init` returned: "params" and any other collections.
        optimizer: of the parameters.
        seed: gives the root key of dropout, sampling and augmentation.
        ema: whether a moving average of the parameters is kept.
        trains: which parameters train, as a tree of booleans; None: all. Others have no average.
        weighting: the first state of the weighting of tasks.
    """
    model_state = dict(variables)
    params = model_state.pop("params")
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero,
        params=params,
        ema_params=jax.tree.map(jnp.copy, select(params, trains)) if ema else None,
        model_state=model_state,
        opt_state=optimizer.init(params),
        key=jax.random.PRNGKey(seed),
        skipped=zero,
        skipped_in_a_row=zero,
        weighting=weighting,
    )


def with_variables(state: TrainState, given: Mapping[str, Any]) -> TrainState:
    """A state at step 0 with given variables in place of the drawn ones.

    Args:
        state: as created.
        given: by collection ("params" and others), nested as the model's; what it leaves out
            stays. It goes to the devices where the state has it.

    Raises:
        UserError: what is given has another shape, or no place.
    """
    drawn = {"params": state.params, **state.model_state}
    variables = filled(drawn, given, "")
    params, average = variables.pop("params"), state.ema_params
    if average is not None:
        average = map_selected(lambda _, p: jnp.copy(p), average, params)
    return state.replace(params=params, ema_params=average, model_state=variables)


@dataclasses.dataclass(frozen=True, eq=False)
class Slices:
    """Some entries of an array of a shape: those at the crossings of so many indices an axis."""

    shape: tuple[int, ...]
    index: tuple[np.ndarray, ...]
    values: np.ndarray

    def put_into(self, drawn: jax.Array) -> jax.Array:
        """The array with these entries in it."""
        new = drawn.at[np.ix_(*self.index)].set(self.values.astype(drawn.dtype))
        return jax.device_put(new, drawn.sharding)


def filled(drawn: Any, given: Any, path: str) -> Any:
    """A tree of arrays, or their shapes, with those given in their places.

    Raises:
        UserError: as `with_variables`.
    """
    if isinstance(given, Slices) and given.shape == drawn.shape:
        return given.put_into(drawn)
    if not isinstance(given, Mapping):
        if drawn.shape != given.shape:
            raise UserError(
                f"{path} is {list(given.shape)} where it is loaded from and"
                f" {list(drawn.shape)} in this model"
            )
        return jax.device_put(given.astype(drawn.dtype), drawn.sharding)
    strange = given.keys() - drawn.keys()
    if strange:
        raise UserError(f"{path}: this model has no place for {sorted(strange)[0]}")
    return {
        name: filled(value, given[name], f"{path}/{name}") if name in given else value
        for name, value in drawn.items()
    }
