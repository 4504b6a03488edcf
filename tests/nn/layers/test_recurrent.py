"""LSTM and GRU against a loop over the real steps only, in both directions."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.cells import CELLS
from mmjax.nn.layers.recurrent import Recurrent, recur
from tests import drawn

MASK = np.array(
    [[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 1, 0]], bool
)
X = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
CASES = {
    "lstm": {"cell": "lstm"},
    "lstm_both": {"cell": "lstm", "bidirectional": True, "layers": 2},
    "gru": {"cell": "gru", "layers": 2},
    "gru_both": {"cell": "gru", "bidirectional": True},
}
every_case = pytest.mark.parametrize("name", CASES)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(x, params, hidden, cell):
    gates = x @ params["input"]["kernel"] + params["bias"] + hidden @ params["recurrent"]
    i, f, g, o = np.split(gates, 4)
    cell = logistic(f) * cell + logistic(i) * np.tanh(g)
    return logistic(o) * np.tanh(cell), cell


def gru_step(x, params, hidden, cell):
    x_r, x_z, x_n = np.split(x @ params["input"]["kernel"], 3)
    h_r, h_z, h_n = np.split(hidden @ params["recurrent"], 3)
    b_r, b_z, b_n, b_h = np.split(params["bias"], 4)
    r, z = logistic(x_r + h_r + b_r), logistic(x_z + h_z + b_z)
    return (1 - z) * np.tanh(x_n + b_n + r * (h_n + b_h)) + z * hidden, cell


STEPS = {"lstm": lstm_step, "gru": gru_step}


def loop(x, params, cell):
    """Hidden state after each step of one sequence without masks, in float64."""
    width = params["recurrent"].shape[0]
    hidden, memory, out = np.zeros(width), np.zeros(width), []
    for step in x:
        hidden, memory = STEPS[cell](step, params, hidden, memory)
        out.append(hidden)
    return np.array(out).reshape(-1, width)


def loops(x, params, cell, layers=1, bidirectional=False):
    """All states of the last layer, and its last ones, of one sequence without masks."""
    width = 6
    for layer in range(layers):
        p = params[f"layer_{layer}"]
        if bidirectional:
            ahead, back = (jax.tree.map(lambda a, i=i: a[i], p) for i in (0, 1))
            parts = loop(x, ahead, cell), loop(x[::-1], back, cell)
            last = np.concatenate([part[-1] for part in parts]) if len(x) else np.zeros(width)
            x = np.concatenate([parts[0], parts[1][::-1]], axis=1)
        else:
            x = loop(x, p, cell)
            last = x[-1] if len(x) else np.zeros(width)
    return x, last


random_variables = functools.partial(drawn.variables, deviation=0.7)


def example(name):
    module = Recurrent(6, **CASES[name])
    mask = jnp.asarray(MASK)
    variables = random_variables(module, jnp.asarray(X), mask)

    @jax.jit
    def step(x):
        def loss(x):
            hidden, last = module.apply(variables, x, mask)
            return (hidden**2).sum() + (last**3).sum(), (hidden, last)

        gradient, outputs = jax.grad(loss, has_aux=True)(x)
        return outputs, gradient

    return variables, step


@every_case
def test_equals_the_loop_over_real_steps(name):
    variables, step = example(name)
    (hidden, last), _ = step(jnp.asarray(X))
    hidden = np.asarray(hidden)
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), variables["params"])
    for row, real in enumerate(MASK):
        expected, end = loops(X[row][real], params, **CASES[name])
        np.testing.assert_allclose(hidden[row][real], expected, atol=1e-5)
        np.testing.assert_array_equal(hidden[row][~real], 0)
        np.testing.assert_allclose(last[row], end, atol=1e-5)


@every_case
def test_masked_steps_change_no_bit_and_have_no_gradient(name):
    _, step = example(name)
    clean, dirty = step(jnp.asarray(X)), step(jnp.where(MASK[..., None], X, jnp.nan))
    jax.tree.map(np.testing.assert_array_equal, dirty, clean)
    np.testing.assert_array_equal(np.asarray(clean[1])[~MASK], 0)
    assert np.abs(np.asarray(clean[1])[MASK]).min() > 0


@pytest.mark.parametrize("bidirectional", [False, True])
def test_which_steps_a_state_has_read(bidirectional):
    """The gradient of each state at each real step: the past only, or everything."""
    x, mask = jnp.asarray(X[:1]), jnp.ones((1, 6), bool)
    module = Recurrent(6, "gru", bidirectional=bidirectional)
    variables = random_variables(module, x, mask)
    jacobian = jax.jit(jax.jacrev(lambda x: module.apply(variables, x, mask)[0]))(x)
    read = np.abs(jacobian[0, :, :, 0]).max(axis=(1, 3)) > 0
    np.testing.assert_array_equal(read, bidirectional | np.tri(6, dtype=bool))


def test_forget_gate_starts_open():
    module = Recurrent(6)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.asarray(X), jnp.asarray(MASK))
    bias = variables["params"]["layer_0"]["bias"]
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 6))


def test_the_two_directions_start_with_kernels_of_their_own():
    module = Recurrent(6, bidirectional=True)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.asarray(X), jnp.asarray(MASK))
    params = variables["params"]["layer_0"]
    for kernel in (params["input"]["kernel"], params["recurrent"]):
        assert np.abs(kernel[0] - kernel[1]).min() > 0
    rows = params["recurrent"][1]
    np.testing.assert_allclose(rows @ rows.T, np.eye(3), atol=1e-5)


def test_the_kernels_of_the_two_directions_are_drawn_one_after_the_other():
    """A QR of a batch never ended where two CPU devices started a model."""
    init = jax.jit(Recurrent(6, bidirectional=True).init)
    text = init.lower(jax.random.key(0), jnp.asarray(X), jnp.asarray(MASK)).as_text()
    drawn = re.findall(r"@lapack_sgeqrf_ffi.*?tensor<([\dx]+)xf32>", text)
    assert drawn == ["12x3"]


def test_dropout_is_between_layers_only():
    mask, x = jnp.asarray(MASK), jnp.asarray(X)

    def run(layers, **rngs):
        module = Recurrent(6, layers=layers, dropout=0.5)
        variables = random_variables(module, x, mask)
        return module.apply(variables, x, mask, deterministic=not rngs, rngs=rngs)[0]

    key = jax.random.key(1)
    np.testing.assert_array_equal(run(1, dropout=key), run(1))
    assert not np.allclose(run(2, dropout=key), run(2))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_bfloat16_is_near_over_a_long_sequence(cell):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 300, 8)), jnp.float32)
    mask = jnp.ones((2, 300), bool)
    variables = jax.jit(Recurrent(16, cell).init)(jax.random.key(0), x, mask)
    _, exact = jax.jit(Recurrent(16, cell).apply)(variables, x, mask)
    _, half = jax.jit(Recurrent(16, cell, dtype=jnp.bfloat16).apply)(variables, x, mask)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), exact, atol=0.03)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Recurrent(6, "rnn"), "unknown cell 'rnn': choose one of gru, lstm"),
        (Recurrent(7, bidirectional=True), "width 7 does not split into two directions"),
        (Recurrent(6, layers=0), "0 layers: choose at least one"),
    ],
)
def test_mistakes_are_told_in_one_line(module, message):
    with pytest.raises(UserError, match=message):
        module.init(jax.random.key(0), jnp.asarray(X), jnp.asarray(MASK))


def plain_scan(cell, projected, kernel, biases, mask):
    """The same recurrence, with the gradient that jax derives from a scan."""

    def step(state, inputs):
        gates, real = inputs
        recurrent = jnp.matmul(state[0].astype(kernel.dtype), kernel).astype(jnp.float32)
        new, _ = cell.step(gates + biases[0], recurrent + biases[1], state)
        pairs = zip(new, state, strict=True)
        state = tuple(jnp.where(real[:, None], after, before) for after, before in pairs)
        return state, state[0]

    start = (jnp.zeros((projected.shape[1], kernel.shape[0])),) * cell.states
    return jax.lax.scan(step, start, (projected, mask))[1]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_gradients_are_those_of_a_scan(name, dtype):
    cell, random = CELLS[name], np.random.default_rng(3)

    def draw(*shape):
        return jnp.asarray(random.normal(size=shape), jnp.float32)

    size = 5 * cell.gates
    args = draw(6, 4, size), draw(5, size).astype(dtype), (draw(size), draw(size))

    def gradient(run):
        def loss(*args):
            return jnp.sum(run(cell, *args, jnp.asarray(MASK.T)) ** 3)

        return jax.jit(jax.grad(loss, (0, 1, 2)))(*args)

    near = 1e-5 if dtype == jnp.float32 else 0.03

    def compare(own, derived):
        assert own.dtype == derived.dtype
        assert own.shape == derived.shape
        own, derived = (np.asarray(a, np.float32) for a in (own, derived))
        np.testing.assert_allclose(own, derived, atol=near * np.abs(derived).max())

    jax.tree.map(compare, gradient(recur), gradient(plain_scan))


@every_case
def test_devices_that_share_a_batch_do_not_meet_at_each_step(name):
    module = Recurrent(6, **CASES[name])
    x, mask = jnp.zeros((8, 6, 3)), jnp.ones((8, 6), bool)
    variables = random_variables(module, x, mask)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, jax.P("data"))

    @jax.jit
    def gradient(variables, x, mask):
        return jax.grad(lambda v: (module.apply(v, x, mask)[0] ** 2).sum())(variables)

    program = gradient.lower(variables, *jax.device_put((x, mask), rows)).compile().as_text()
    reductions = re.findall(r"all-reduce\(.*?op_name=\"([^\"]*)\"", program)
    assert reductions
    assert not [path for path in reductions if "/body/" in path]
    assert "all-gather" not in program
