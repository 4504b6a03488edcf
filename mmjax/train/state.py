"""All that a training run carries from one step to the next."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """The state of a run; a pytree.

    step: how many batches were seen, skipped ones included.
    params: parameters, float32.
    ema_params: their exponential moving average, or None if it is not used.
    model_state: the model's other variables by collection, such as the running statistics of
        batch norms; {} for a model that has none.
    opt_state: the optimizer's.
    key: the root random key; each step folds its number into it.
    skipped: how many steps were not applied because a loss or gradient was not finite.
    skipped_in_a_row: how many of them came last.
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

    @property
    def eval_variables(self) -> dict[str, Any]:
        """What to evaluate and to use: the moving average of the parameters if there is one."""
        params = self.params if self.ema_params is None else self.ema_params
        return {"params": params, **self.model_state}


def create_state(
    variables: Mapping[str, Any],
    optimizer: optax.GradientTransformation,
    seed: int,
    *,
    ema: bool = False,
) -> TrainState:
    """A state at step 0.

    Args:
        variables: what the model's `init` returned: "params" and any other collections.
        optimizer: of the parameters.
        seed: gives the root key of dropout, sampling and augmentation.
        ema: whether a moving average of the parameters is kept.
    """
    model_state = dict(variables)
    params = model_state.pop("params")
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero,
        params=params,
        ema_params=jax.tree.map(jnp.copy, params) if ema else None,
        model_state=model_state,
        opt_state=optimizer.init(params),
        key=jax.random.PRNGKey(seed),
        skipped=zero,
        skipped_in_a_row=zero,
    )
