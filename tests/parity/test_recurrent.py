"""LSTM and GRU against torch.nn over packed sequences: states <= 1e-5, gradients <= 1e-4."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn.layers.recurrent import Recurrent

torch = pytest.importorskip("torch")

from tests.parity.torch_weights import random_state  # noqa: E402

LENGTHS = [7, 3, 5, 1]
X = np.random.default_rng(0).normal(size=(4, 7, 5)).astype(np.float32)
MASK = np.arange(7) < np.array(LENGTHS)[:, None]


def bias(cell, state, ending):
    """Ours is the sum of theirs, but for the gate of which the GRU resets a part."""
    first, second = state[f"bias_ih_{ending}"], state[f"bias_hh_{ending}"]
    if cell == "lstm":
        return first + second
    size = len(first) // 3
    both = first + second
    return np.concatenate([both[: 2 * size], first[2 * size :], second[2 * size :]])


def direction(cell, state, ending):
    return {
        "input": {"kernel": state[f"weight_ih_{ending}"].T},
        "recurrent": state[f"weight_hh_{ending}"].T,
        "bias": bias(cell, state, ending),
    }


def converted(cell, state, layers, bidirectional):
    params = {}
    for layer in range(layers):
        parts = [direction(cell, state, f"l{layer}")]
        if bidirectional:
            parts.append(direction(cell, state, f"l{layer}_reverse"))
            parts = [jax.tree.map(lambda *p: np.stack(p), *parts)]
        params[f"layer_{layer}"] = parts[0]
    return params


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_equals_torch_over_packed_sequences(cell, bidirectional):
    half = 3 if bidirectional else 6
    theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](
        5, half, num_layers=2, batch_first=True, bidirectional=bidirectional
    )
    state = random_state(torch, theirs)
    x = torch.tensor(X, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
    )
    out, ends = theirs(packed)
    hidden, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    ends = ends[0] if cell == "lstm" else ends
    ends = ends.reshape(2, -1, 4, half)[-1].transpose(0, 1).reshape(4, 6)
    ((hidden**3).sum() + (ends**2).sum()).backward()

    ours = Recurrent(6, cell, 2, bidirectional)
    params = converted(cell, state, 2, bidirectional)

    @jax.jit
    def step(params, x):
        def loss(params, x):
            hidden, last = ours.apply({"params": params}, x, jnp.asarray(MASK))
            return (hidden**3).sum() + (last**2).sum(), (hidden, last)

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    (gradient, at_x), (states, last) = step(params, jnp.asarray(X))
    np.testing.assert_allclose(states, hidden.detach(), atol=1e-5)
    np.testing.assert_allclose(last, ends.detach(), atol=1e-5)
    np.testing.assert_allclose(at_x, x.grad, atol=1e-4)
    gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    # Each of PyTorch's two biases has the gradient of their sum: they are not summed again.
    expected = converted(cell, gradients, 2, bidirectional)
    for layer in expected.values():
        size = layer["bias"].shape[-1] if cell == "lstm" else 2 * half
        layer["bias"][..., :size] /= 2
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), gradient, expected)
