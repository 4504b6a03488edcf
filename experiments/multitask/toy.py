"""Which ways to weigh two tasks reach the Pareto front of the toy problem of CAGrad and Nash-MTL?

PYTHONPATH=. python experiments/multitask/toy.py experiments/multitask/paths.png [METHOD ...]

Prints a line of a table for each method and draws all paths.
"""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from mmjax import factory
from mmjax.train.weighting import LossWeighting, fixed

STARTS = jnp.array([[-8.5, 7.5], [0.0, 0.0], [9.0, 9.0], [-7.5, -0.5], [9.0, -1.0]])
SCALES = jnp.array([0.1, 1.0])  # Nash-MTL's: the first loss is a tenth of what it is in CAGrad
STEPS, RATE, KEPT = 35_000, 1e-3, 250
LOWEST = -20.0  # no objective falls below it; losses are counted from a little below
NEAR = 0.1  # of the front, in objectives from -20 on
Point = Float[Array, "2"]
OPTIONS = {"scheduled": {"start": (1.0, 1.0), "end": (1.0, 1.0)}}
# The first two are the same as "sum" here; the third needs modalities.
SKIPPED = ("fixed", "scheduled", "mmpareto")


def objectives(x: Point) -> Point:
    """Two objectives of a point; see appendix B of Liu et al. 2021 (arXiv 2110.14048)."""
    one, two = x
    upper, lower = jnp.maximum(jnp.tanh(two / 2), 0), jnp.maximum(jnp.tanh(-two / 2), 0)
    bend = jnp.tanh(-two)
    ridges = jnp.stack([(-one - 7) / 2 - bend, (-one + 3) / 2 + bend + 2])
    above = jnp.log(jnp.maximum(jnp.abs(ridges), 5e-6)) + 6
    bowls = (jnp.stack([-one + 7, -one - 7]) ** 2 + 0.1 * (-two - 8) ** 2) / 10 - 20
    return above * upper + bowls * lower


def losses(x: Point) -> Point:
    """The objectives with their scales, moved so that they are above 0."""
    return SCALES * (objectives(x) - LOWEST + 0.1)


class Paths(NamedTuple):
    """Points [steps starts 2], one of KEPT steps, and what an ending says.

    distance: of the objectives from the front, for each start.
    """

    points: np.ndarray
    distance: np.ndarray
    seconds: float


def run(name: str, front: np.ndarray) -> Paths:
    """Follows a method from all starts."""
    made = factory.construct(
        factory.WEIGHTINGS,
        factory.as_config({"name": name, **OPTIONS.get(name, {})}),
        "method",
        tasks=2,
    )
    step, init = follow(made)

    def path(x: Point) -> Float[Array, "steps 2"]:
        def several(carry, _):
            carry, _ = jax.lax.scan(lambda c, _: (step(c), None), carry, length=KEPT)
            return carry, carry[0]

        return jax.lax.scan(several, init(x), length=STEPS // KEPT)[1]

    begun = time.perf_counter()
    points = np.asarray(jax.jit(jax.vmap(path, out_axes=1))(STARTS))
    seconds = time.perf_counter() - begun
    ends = np.asarray(jax.vmap(objectives)(jnp.asarray(points[-1])))
    distance = np.linalg.norm(ends[:, None] - front[None], axis=-1).min(axis=1)
    return Paths(np.concatenate([np.asarray(STARTS)[None], points]), distance, seconds)


def follow(made: LossWeighting | optax.GradientTransformation) -> tuple[Callable, Callable]:
    """A step and the first state of a loop of plain optax with either kind."""
    aggregates = not isinstance(made, LossWeighting)
    first = made if aggregates else optax.identity()
    optimizer = optax.with_extra_args_support(optax.chain(first, optax.adam(RATE)))
    how = fixed([1.0, 1.0]) if aggregates else made

    def init(x: Point):
        return x, optimizer.init(x), how.init(2)

    def step(carry):
        x, state, among = carry
        before, pull_back = jax.vjp(losses, x)
        weights, among = how.update(before, among)
        if aggregates:
            (gradient,) = jax.vmap(pull_back)(jnp.eye(2))
        else:
            (gradient,) = pull_back(weights)
        updates, state = optimizer.update(gradient, state, x, losses=before)
        x = optax.apply_updates(x, updates)
        if how.observe is not None:
            among = how.observe(before, losses(x), among)
        return x, state, among

    return step, init


def front_of() -> np.ndarray:
    """Objectives [points 2] on the Pareto front, which a fine grid finds."""
    one, two = np.meshgrid(np.linspace(-7, 7, 1401), np.linspace(-12, -4, 1601))
    grid = jnp.asarray(np.stack([one.ravel(), two.ravel()], axis=1), jnp.float32)
    found = np.asarray(jax.jit(jax.vmap(objectives))(grid))
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    best = np.minimum.accumulate(np.concatenate([[np.inf], found[:-1, 1]]))
    return found[found[:, 1] < best]


def draw(paths: dict[str, Paths], file: str) -> None:
    """A small picture of each method's paths on the mean of both losses."""
    columns = 5
    rows = -(-len(paths) // columns)
    figure = Figure(figsize=(2 * columns, 2 * rows), layout="constrained")
    grid = np.atleast_2d(figure.subplots(rows, columns)).ravel()
    side = np.linspace(-11, 11, 150)
    points = jnp.asarray(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2), jnp.float32)
    height = np.asarray(jax.jit(jax.vmap(lambda x: losses(x).mean()))(points)).reshape(150, 150)
    for axis, (name, of) in zip(grid, paths.items(), strict=False):
        axis.contour(side, side, height, levels=12, colors="0.8", linewidths=0.5)
        axis.plot([-7, 7], [-8.3, -8.3], color="tab:green", linewidth=3, alpha=0.4)
        for start, reached in enumerate(of.distance < NEAR):
            color = "tab:blue" if reached else "tab:red"
            axis.plot(*of.points[:, start].T, color=color, linewidth=0.8)
            axis.plot(*of.points[0, start], "k.", markersize=3)
            axis.plot(*of.points[-1, start], "*", color=color, markersize=6)
        axis.set(xlim=(-11, 11), ylim=(-11, 11), xticks=[], yticks=[])
        axis.set_title(f"{name}: {int((of.distance < NEAR).sum())} of 5", fontsize=8)
    for axis in grid[len(paths) :]:
        axis.axis("off")
    figure.savefig(file, dpi=70)


def main(file: str, *names: str) -> None:
    """Runs the methods, or all of them."""
    front, found = front_of(), {}
    kinds = dict.fromkeys(factory.LOSS_WEIGHTINGS, "losses")
    kinds |= dict.fromkeys(factory.AGGREGATORS, "gradients")
    print("| method | kind | reach the front | largest distance | where on it | seconds |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in names or [n for n in kinds if n not in SKIPPED]:
        of = found[name] = run(name, front)
        reached = of.distance < NEAR
        where = ", ".join(f"{x:.1f}" for x in of.points[-1, reached, 0]) or "-"
        print(
            f"| `{name}` | {kinds[name]} | {reached.sum()} of 5 | {of.distance.max():.2f} |"
            f" {where} | {of.seconds:.0f} |",
            flush=True,
        )
    draw(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
