"""What every loss owes: a `Case` for each, and the checks that all cases pass."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.test_util import check_grads

Arrays = tuple[np.ndarray, ...]
ROWS = 6  # the same nearly everywhere: each size compiles anew


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss with inputs to try it on and a loop to compare it with.

    loss: (*inputs) -> [B], with `mask=` [B] if rows mix.
    make: (rng, rows) -> inputs, each with a leading axis of rows; all floats are differentiated.
    oracle: (*inputs in float64, mask) -> [B] in plain numpy; 0 where masked.
    mixes: whether rows see each other. If not, the mask is the caller's, and so is the 0.
    extreme: what floats are multiplied by to be extreme; 100 gives products of 1e4.
    gradient: whether the loss is smooth where `make` puts it.
    tolerance: of the comparison with the oracle, relative and absolute.
    """

    loss: Callable[..., jax.Array]
    make: Callable[[np.random.Generator, int], Arrays]
    oracle: Callable[..., np.ndarray]
    mixes: bool = True
    extreme: float = 1e4
    gradient: bool = True
    tolerance: float = 1e-4

    def inputs(self, rows: int, seed: int = 0) -> Arrays:
        made = self.make(np.random.default_rng(seed), rows)
        return tuple(np.asarray(x, np.float32 if is_float(x) else None) for x in made)

    def __call__(self, inputs, mask=None) -> jax.Array:
        return self._compiled(tuple(map(jnp.asarray, inputs)), mask)

    def value_and_gradients(self, inputs, mask=None):
        """The sum over the rows that count, and its gradient for each float input."""
        return self._compiled_gradients(tuple(map(jnp.asarray, inputs)), mask)

    @functools.cached_property
    def _compiled(self):
        return jax.jit(self._values)

    def _values(self, inputs, mask):
        options = {"mask": mask} if self.mixes and mask is not None else {}
        return self.loss(*inputs, **options)

    @functools.cached_property
    def _compiled_gradients(self):
        @jax.jit
        def value_and_gradients(inputs, mask):
            places = [i for i, x in enumerate(inputs) if is_float(x)]

            def total(floats):
                full = list(inputs)
                for place, value in zip(places, floats, strict=True):
                    full[place] = value
                values = self._values(full, mask)
                return jnp.sum(values if mask is None else jnp.where(mask, values, 0))

            return jax.value_and_grad(total)([inputs[place] for place in places])

        return value_and_gradients


def normal(*shape, seed: int = 0) -> jax.Array:
    """Drawn from the standard normal distribution, in float32."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def is_float(x) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _compare(case: Case, inputs: Arrays, mask: np.ndarray) -> None:
    got = case(inputs, jnp.array(mask))
    exact = [x.astype(np.float64) if is_float(x) else x for x in inputs]
    expected = np.where(mask, case.oracle(*exact, mask=mask), 0)
    assert got.shape == mask.shape
    assert got.dtype == jnp.float32
    if not case.mixes:
        got = np.where(mask, got, 0)
    np.testing.assert_allclose(got, expected, rtol=case.tolerance, atol=case.tolerance)


def equals_a_loop(case: Case) -> None:
    for seed in range(3):
        _compare(case, case.inputs(ROWS, seed), np.ones(ROWS, bool))


def equals_a_loop_under_a_mask(case: Case) -> None:
    _compare(case, case.inputs(ROWS), np.array([1, 0, 1, 1, 0, 1], bool))


def equals_a_loop_for_one_example(case: Case) -> None:
    _compare(case, case.inputs(1), np.ones(1, bool))
    _compare(case, case.inputs(ROWS), np.array([0, 0, 1, 0, 0, 0], bool))


def equals_a_loop_for_repeated_examples(case: Case) -> None:
    repeated = tuple(x[[0, 0, 1, 2, 2, 2]] for x in case.inputs(3))
    _compare(case, repeated, np.ones(6, bool))


def ignores_what_is_masked(case: Case) -> None:
    """Not a bit of the others changes, and no gradient reaches it, NaN though it may be."""
    inputs = case.inputs(ROWS)
    mask = jnp.array([True, False, True, True, False, True])
    changed = [x.copy() for x in inputs]
    for place, x in enumerate(changed):
        if is_float(x):
            x[[1, 4]] = (np.nan, 1e4)[place % 2]
    before, _ = case.value_and_gradients(inputs, mask)
    after, gradients = case.value_and_gradients(changed, mask)
    assert before == after
    np.testing.assert_array_equal(case(inputs, mask)[mask], case(changed, mask)[mask])
    if case.mixes:
        assert (case(changed, mask)[~mask] == 0).all()
        for gradient in gradients:
            assert np.isfinite(gradient).all()
            assert (gradient[~mask] == 0).all()


def is_still_when_all_is_masked(case: Case) -> None:
    if not case.mixes:
        return
    inputs = [x * np.nan if is_float(x) else x for x in case.inputs(ROWS)]
    value, gradients = case.value_and_gradients(inputs, jnp.zeros(ROWS, bool))
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients)


def has_the_gradient_of_its_values(case: Case) -> None:
    if not case.gradient:
        return
    inputs = case.inputs(ROWS)
    places = [i for i, x in enumerate(inputs) if is_float(x)]

    def values(*floats):
        full = list(inputs)
        for place, value in zip(places, floats, strict=True):
            full[place] = value
        return case(full)

    floats = tuple(jnp.asarray(inputs[i]) for i in places)
    check_grads(values, floats, order=1, modes=["rev"], rtol=0.02, atol=0.02)
    if case.mixes:
        # Where all rows have one number, its random weights above nearly cancel; ones do not.
        total = lambda *floats: jnp.sum(values(*floats))  # noqa: E731
        check_grads(total, floats, order=1, modes=["rev"], rtol=0.02, atol=0.02)


def stays_finite_when_inputs_are_extreme(case: Case) -> None:
    for rows in (1, ROWS):
        for scale in (case.extreme, -case.extreme, 0.0):
            inputs = [x * np.float32(scale) if is_float(x) else x for x in case.inputs(rows)]
            value, gradients = case.value_and_gradients(inputs)
            assert np.isfinite(value), scale
            assert all(np.isfinite(gradient).all() for gradient in gradients), scale


def computes_in_float32_whatever_it_gets(case: Case) -> None:
    low = [jnp.asarray(x, jnp.bfloat16) if is_float(x) else x for x in case.inputs(ROWS)]
    rounded = [x.astype(jnp.float32) if is_float(x) else x for x in low]
    got = case(low)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, case(rounded), rtol=1e-4, atol=1e-4)


def is_the_same_on_eight_devices(case: Case) -> None:
    inputs = tuple(jnp.asarray(x) for x in case.inputs(16))
    mask = jnp.arange(16) % 5 > 0
    total = case.value_and_gradients
    rows = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    one, eight = total(inputs, mask), total(*jax.device_put((inputs, mask), rows))
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def follows_the_order_of_the_rows(case: Case) -> None:
    inputs, order = case.inputs(ROWS), np.array([3, 1, 5, 0, 2, 4])
    got = case([x[order] for x in inputs])
    tolerance = case.tolerance
    np.testing.assert_allclose(got, case(inputs)[order], rtol=tolerance, atol=tolerance)


CHECKS = (
    equals_a_loop,
    equals_a_loop_under_a_mask,
    equals_a_loop_for_one_example,
    equals_a_loop_for_repeated_examples,
    ignores_what_is_masked,
    is_still_when_all_is_masked,
    has_the_gradient_of_its_values,
    stays_finite_when_inputs_are_extreme,
    computes_in_float32_whatever_it_gets,
    is_the_same_on_eight_devices,
    follows_the_order_of_the_rows,
)
