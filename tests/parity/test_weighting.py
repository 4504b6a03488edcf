"""Weightings of tasks and gradient aggregators against TorchJD.

Its aggregators run in float64 on the gradients that ours get in float32. Where one stops early, it
is told not to; LibMTL cannot be imported with a torchvision of today.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
aggregation = pytest.importorskip("torchjd.aggregation")
cvxpy = pytest.importorskip("cvxpy")
scipy_optimize = pytest.importorskip("scipy.optimize")

from torchjd import scalarization  # noqa: E402
from torchjd.aggregation import _fairgrad  # noqa: E402
from torchjd.linalg import QuadprogProjector  # noqa: E402

from mmjax.train import weighting  # noqa: E402
from mmjax.train.weighting.gradients import projections  # noqa: E402

SIZE = 20
CASES = [(seed, tasks) for tasks in (2, 3, 5) for seed in range(4)]
EXACT = QuadprogProjector(norm_eps=1e-30, reg_eps=1e-6)
PAIRS = {
    "aligned_mtl": (weighting.aligned_mtl(), aggregation.AlignedMTL()),
    "aligned_mtl_median": (
        weighting.aligned_mtl(scale="median"),
        aggregation.AlignedMTL(scale_mode="median"),
    ),
    "aligned_mtl_rmse": (
        weighting.aligned_mtl(scale="rmse"),
        aggregation.AlignedMTL(scale_mode="rmse"),
    ),
    "cagrad": (weighting.cagrad(c=0.5), aggregation.CAGrad(0.5)),
    "dual_projection": (weighting.dual_projection(), aggregation.DualProj(projector=EXACT)),
    "fairgrad": (weighting.fairgrad(alpha=2.0), aggregation.FairGrad(2.0)),
    "fairgrad_nash": (weighting.fairgrad(alpha=1.0), aggregation.FairGrad(1.0)),
    "imtl_g": (weighting.imtl_g(), aggregation.IMTLG()),
    "mean": (weighting.mean_of_tasks(), aggregation.Mean()),
    "mgda": (weighting.mgda(), aggregation.MGDA(epsilon=1e-12, max_iters=4000)),
    "sum": (weighting.sum_of_tasks(), aggregation.Sum()),
    "upgrad": (weighting.upgrad(), aggregation.UPGrad(projector=EXACT)),
}


@pytest.fixture(autouse=True)
def exact_solvers(monkeypatch):
    """Theirs with tolerances far below ours: by default they stop near 1e-8 of an objective."""
    solve = cvxpy.Problem.solve
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-14)

    def exactly(self, *args, **options):
        return solve(self, *args, **(tight if cvxpy.CLARABEL in args else {}), **options)

    monkeypatch.setattr(cvxpy.Problem, "solve", exactly)
    least_squares = functools.partial(
        scipy_optimize.least_squares, ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    monkeypatch.setattr(_fairgrad, "least_squares", least_squares)


def rows_of(seed, tasks):
    """Random gradients that conflict, of different lengths."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(tasks, SIZE))
    rows[0] -= 0.4 * rows[1:].sum(axis=0)
    return (rows * np.exp(0.5 * rng.normal(size=(tasks, 1)))).astype(np.float32)


@functools.cache
def jitted(name):
    made = PAIRS[name][0]
    return jax.jit(lambda rows: made.update(rows, made.init(None))[0])


def close(found, expected, tolerance=1e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", PAIRS)
def test_an_aggregate_is_theirs(name):
    for seed, tasks in CASES:
        rows = rows_of(seed, tasks)
        expected = PAIRS[name][1](torch.tensor(rows, dtype=torch.float64))
        close(jitted(name)(jnp.asarray(rows)), expected)


@pytest.mark.parametrize("tasks", [2, 4])
def test_pcgrad_and_gradvac_with_the_same_orders(tasks, monkeypatch):
    rng = np.random.default_rng(tasks)
    orders = np.stack([rng.permutation(tasks) for _ in range(tasks)])
    rows = rows_of(7, tasks)
    products = jnp.asarray(rows @ rows.T)
    given = iter(orders)
    monkeypatch.setattr(torch, "randperm", lambda _: torch.tensor(next(given)))
    expected = aggregation.PCGrad()(torch.tensor(rows, dtype=torch.float64))
    close(projections.pcgrad_weights(products, jnp.asarray(orders)) @ rows, expected)

    theirs = aggregation.GradVac(beta=0.3, eps=0.0)
    average = jnp.zeros((tasks, tasks))
    for seed in range(3):
        rows = rows_of(seed, tasks)
        # They count the others of a task without itself.
        others = ([int(j - (j > i)) for j in order if j != i] for i, order in enumerate(orders))
        monkeypatch.setattr(torch, "randperm", lambda _, o=others: torch.tensor(next(o)))
        expected = theirs(torch.tensor(rows, dtype=torch.float64))
        weights, average = projections.gradvac_weights(
            jnp.asarray(rows @ rows.T), average, jnp.asarray(orders), 0.3
        )
        close(weights @ rows, expected)


def test_graddrop_with_the_same_draws(monkeypatch):
    rows = rows_of(1, 3)
    made = weighting.graddrop(seed=3, leak=0.25)
    _, drawn = jax.random.split(made.init(None))
    uniform = np.asarray(jax.random.uniform(jax.random.split(drawn, 1)[0], (SIZE,)))
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor(uniform))
    theirs = aggregation.GradDrop(leak=torch.full((3,), 0.25))
    found, _ = made.update(jnp.asarray(rows), made.init(None))
    close(found, theirs(torch.tensor(rows)))


@pytest.mark.parametrize("max_norm", [0.0, 1.0])
def test_nash_mtl_is_theirs_after_many_of_their_iterations(max_norm):
    made = weighting.nash_mtl(max_norm=max_norm)
    for seed in range(3):
        rows = rows_of(seed, 3)
        theirs = aggregation.NashMTL(n_tasks=3, max_norm=max_norm, optim_niter=100)
        expected = theirs(torch.tensor(rows, dtype=torch.float64))
        close(made.update(jnp.asarray(rows), made.init(None))[0], expected)


def gradients_by(scalar, losses, parameter=None, rate=0.0):
    """Theirs: the gradient of a scalar by each loss, step by step, with its own Adam."""
    optimizer = torch.optim.Adam([parameter], lr=rate) if parameter is not None else None
    found = []
    for row in losses:
        values = torch.tensor(row, requires_grad=True)
        total = scalar(values)
        if optimizer is not None:
            optimizer.zero_grad()
        total.backward()
        if optimizer is not None:
            optimizer.step()
        found.append(values.grad.numpy())
    return np.stack(found)


def weights_by(how, losses):
    state, found = how.init(losses.shape[1]), []
    update = jax.jit(how.update)
    for row in losses:
        weights, state = update(jnp.asarray(row), state)
        found.append(weights)
    return np.stack(found)


LOSSES = np.exp(np.random.default_rng(0).normal(size=(30, 3))).astype(np.float32)


@pytest.mark.parametrize(
    ("ours", "theirs", "rate"),
    [
        (weighting.uncertainty(learning_rate=0.05), scalarization.UW, 0.05),
        (weighting.imtl_l(learning_rate=0.05), scalarization.IMTLL, 0.05),
        (weighting.gls(), lambda _: scalarization.GeometricMean(), 0.0),
        (weighting.stch(smoothing=0.3), lambda _: scalarization.STCH(0.3), 0.0),
    ],
    ids=["uncertainty", "imtl_l", "gls", "stch"],
)
def test_weights_are_the_gradients_of_theirs(ours, theirs, rate):
    scalar = theirs(3)
    parameter = next(iter(scalar.parameters()), None)
    expected = gradients_by(scalar, LOSSES, parameter, rate)
    close(weights_by(ours, LOSSES), expected)


def test_famo_follows_theirs():
    theirs, ours = scalarization.FAMO(3), weighting.famo(same_batch=True)
    state = ours.init(3)
    for before, after in zip(LOSSES, LOSSES[::-1], strict=True):
        values = torch.tensor(before, requires_grad=True)
        theirs(values).backward()
        theirs.update(torch.tensor(after.copy()))
        weights, state = ours.update(jnp.asarray(before), state)
        state = ours.observe(jnp.asarray(before), jnp.asarray(after), state)
        close(weights, values.grad)


def test_dwa_follows_theirs():
    theirs, window = scalarization.DWA(temperature=1.5), 5
    expected = []
    for number, row in enumerate(LOSSES):
        values = torch.tensor(row, requires_grad=True)
        theirs(values).backward()
        expected.append(values.grad.numpy())
        if number % window == window - 1:
            theirs.step()
    close(weights_by(weighting.dwa(temperature=1.5, window=window), LOSSES), np.stack(expected))
