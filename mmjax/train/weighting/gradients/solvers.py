"""Small convex problems over weights of tasks, with a fixed number of iterations."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

Vector = Float[Array, " n"]
Matrix = Float[Array, "n n"]
Scalar = Float[Array, ""]
Point = tuple[Vector, Vector, Scalar]  # x, z and what belongs to the sum
ITERATIONS = 40
CENTERING, TO_BOUNDARY = 0.2, 0.99
# Of x z, and of x or z alone: beyond these float32 gains nothing, and soon divides by 0.
SMALLEST, ABOVE_ZERO = 1e-13, 1e-20
# On the diagonal of a Hessian, which rounding can make indefinite; it bends only the path.
RIDGE = 1e-6


def nonnegative(derivatives: Callable[[Vector], tuple[Vector, Matrix]], n: int) -> Vector:
    """The minimum of a convex function over x >= 0, by a primal-dual interior-point method.

    Of several minima it is the one in their middle, whatever their order. Values near 1 suit it
    best. See chapter 11 of Boyd and Vandenberghe, Convex Optimization.

    Args:
        derivatives: x [n] -> the gradient [n] and the Hessian [n n], positive semidefinite.
        n: the number of variables.
    """
    start = jnp.full(n, 1 / n), jnp.full(n, 1 / n)

    def step(_: Int[Array, ""], point: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
        x, z = point
        gradient, hessian = derivatives(x)
        target = _target(x, z)
        dx = jnp.linalg.solve(hessian + jnp.diag(z / x + RIDGE), target / x - gradient)
        return _moved(x, z, dx, target)

    return jax.lax.fori_loop(0, ITERATIONS, step, start)[0]


def simplex(derivatives: Callable[[Vector], tuple[Vector, Matrix]], n: int) -> Vector:
    """As `nonnegative`, over x >= 0 with sum 1."""
    start = jnp.full(n, 1 / n), jnp.ones(n), jnp.zeros(())

    def step(
        _: Int[Array, ""], point: tuple[Vector, Vector, Scalar]
    ) -> tuple[Vector, Vector, Scalar]:
        x, z, y = point
        gradient, hessian = derivatives(x)
        target = _target(x, z)
        sides = jnp.stack([target / x - gradient - y, jnp.ones(n)], axis=1)
        to_target, to_sum = jnp.linalg.solve(hessian + jnp.diag(z / x + RIDGE), sides).T
        dy = (to_target.sum() - (1 - x.sum())) / to_sum.sum()
        x, z = _moved(x, z, to_target - dy * to_sum, target)
        return x, z, y + dy

    x = jax.lax.fori_loop(0, ITERATIONS, step, start)[0]
    return x / x.sum()


def _target(x: Vector, z: Vector) -> Scalar:
    return jnp.maximum(CENTERING * jnp.mean(x * z), SMALLEST)


def _moved(x: Vector, z: Vector, dx: Vector, target: Scalar) -> tuple[Vector, Vector]:
    dz = (target - x * z - z * dx) / x
    here, moves = jnp.concatenate([x, z]), jnp.concatenate([dx, dz])
    room = jnp.where(moves < 0, -here / jnp.where(moves < 0, moves, -1.0), jnp.inf).min()
    length = jnp.minimum(1.0, TO_BOUNDARY * room)
    return jnp.maximum(x + length * dx, ABOVE_ZERO), jnp.maximum(z + length * dz, ABOVE_ZERO)


def least_norm(products: Matrix, linear: Vector) -> Vector:
    """The x of the simplex that minimises x' G x / 2 + c' x."""
    return simplex(lambda x: (products @ x + linear, products), len(linear))


HALVINGS = 2.0 ** -np.arange(24.0, dtype=np.float32)


def equal_power(products: Matrix, goals: Vector, power: float) -> Vector:
    """The x > 0 with (G x)_i = b_i x_i^-power: Newton's method with a search along each step.

    It is the minimum of x' G x / 2 - sum_i b_i x_i^(1 - power) / (1 - power), or with a logarithm
    for a power of 1: convex, so that the slope along a step grows, and is 0 in one place.

    Args:
        products: G, positive semidefinite, with 1 on its diagonal or near it.
        goals: b, above 0.
        power: above 0.
    """

    def step(_: Int[Array, ""], x: Vector) -> Vector:
        gradient = products @ x - goals * x**-power
        hessian = products + jnp.diag(power * goals * x ** (-power - 1))
        move = -jnp.linalg.solve(hessian, gradient)
        points = x + HALVINGS[:, None] * move
        inside = (points > 0).all(axis=1)
        points = jnp.where(inside[:, None], points, x)
        slopes = jnp.abs((points @ products - goals * points**-power) @ move)
        best = jnp.argmin(jnp.where(inside, slopes, jnp.inf))
        return points[best]

    # Where all gradients are orthogonal this is the answer.
    return jax.lax.fori_loop(0, ITERATIONS, step, goals ** (1 / (1 + power)))
