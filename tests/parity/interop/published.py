"""A model of a PyTorch library against ours: saved there, loaded here, and given back."""

import json

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.formats import safetensors
from mmjax.interop.formats.open_weights import open_weights

COSINE = 0.99999
HIDDEN = {"output_hidden_states": True}
# Of a transformer whose config is not drawn.
SIZES = {
    "hidden_size": 12,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 20,
}
# Of Whisper, for a second of sound.
HALF = {"layers": 1, "attention_heads": 2, "ffn_dim": 20}
WHISPER = {f"{half}_{name}": n for half in ("encoder", "decoder") for name, n in HALF.items()}
WHISPER |= {"num_mel_bins": 6, "max_source_positions": 50}
WHISPER |= {f"{kind}_token_id": 0 for kind in ("pad", "bos", "eos")}
# Each example compiles; what fails is small enough without shrinking.
DRAWN = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def sizes(draw, *activations):
    """Of a transformer: any number of heads of any width."""
    heads = draw(st.integers(1, 4))
    return {
        "hidden_size": heads * draw(st.sampled_from([3, 5, 8, 11])),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "intermediate_size": draw(st.integers(5, 50)),
        "hidden_act": draw(st.sampled_from(activations)),
    }


def randomise(torch, module, seed=0):
    """Draws every parameter and every statistic, norms and biases included, so that none is idle.

    Matrices keep the length of what passes them, as in a trained model.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, x in (*module.named_parameters(), *module.named_buffers()):
            if not x.is_floating_point() or x.numel() == 0:
                continue
            noise = torch.randn(x.shape, generator=generator)
            if name.endswith("running_var"):
                x.copy_(0.5 + noise.abs())
            elif x.ndim < 2:
                x.copy_((x if x.ndim == 0 else (name.endswith("weight") * 1.0)) + 0.2 * noise)
            else:
                x.copy_(noise * x[0].numel() ** -0.5)
    return module.eval()


def as_numpy(tree):
    """The tensors of an output, at any depth, as arrays; None and empty parts are left out."""
    if hasattr(tree, "detach"):
        return tree.detach().float().numpy()
    if isinstance(tree, (list, tuple)):
        return tuple(as_numpy(value) for value in tree)
    if hasattr(tree, "items"):
        return {name: as_numpy(value) for name, value in tree.items() if value is not None}
    return tree


def assert_close(ours, theirs, tolerance=1e-4, where=""):
    """Every output of theirs is one of ours, of the same shape and equal to rounding."""
    if isinstance(theirs, dict):
        assert set(theirs) <= set(ours), f"{where}: {sorted(set(theirs) - set(ours))} are missing"
        for name, value in theirs.items():
            assert_close(ours[name], value, tolerance, f"{where}/{name}")
    elif isinstance(theirs, tuple):
        assert len(ours) == len(theirs), where
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_close(*pair, tolerance, f"{where}/{i}")
    else:
        ours = np.asarray(ours, np.float32)
        assert ours.shape == theirs.shape, where
        scale = max(1.0, float(np.abs(theirs).max(initial=0)))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale, err_msg=where)
        a, b = ours.ravel().astype(np.float64), theirs.ravel().astype(np.float64)
        if np.abs(b).max(initial=0) > 10 * tolerance:  # not of noise around a zero
            assert a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) > COSINE, where


def as_arrays(inputs):
    """The inputs as numpy has them."""
    return {name: x.numpy() if hasattr(x, "numpy") else x for name, x in inputs.items()}


def check(torch, theirs, inputs, folder, *, tolerance=1e-4, extra=None, unexpected=()):
    """Saves `theirs`, compares all outputs, hidden states of each layer included, exports, compares
    again.

    Args:
        torch: the library.
        theirs: a model of transformers with its weights drawn.
        inputs: tensors by name.
        folder: where to write.
        tolerance: the largest distance, in units of the largest value if that is above one.
        extra: further arguments of theirs that ours does not need.
        unexpected: the names in the file that ours has no place for.

    Returns:
        Our model.
    """
    theirs.save_pretrained(folder / "theirs")
    with torch.no_grad():
        expected = as_numpy(theirs(**inputs, **(extra or {}), **HIDDEN))
    model = interop.load(folder / "theirs")
    assert tuple(model.report.unexpected) == tuple(unexpected)
    assert_close(model(**as_arrays(inputs), **HIDDEN), expected, tolerance)

    interop.save(model, folder / "ours")
    again, notes = type(theirs).from_pretrained(folder / "ours", output_loading_info=True)
    assert not notes["missing_keys"], notes
    assert not notes["unexpected_keys"], notes
    with torch.no_grad():
        returned = as_numpy(again.eval()(**inputs, **(extra or {}), **HIDDEN))
    assert_close(returned, expected, 1e-6)
    return model


def check_return(torch, theirs, model, inputs, folder):
    """A model whose head ours has no place for is saved and loaded again, its head included."""
    assert model.report.unexpected
    interop.save(model, folder)
    again, notes = type(theirs).from_pretrained(folder, output_loading_info=True)
    assert not notes["missing_keys"], notes
    assert not notes["unexpected_keys"], notes
    with torch.no_grad():
        expected, found = (as_numpy(m.eval()(**inputs).logits) for m in (theirs, again))
    assert_close(found, expected, 1e-6)


def check_names_in_memory(theirs, inputs, folder, output):
    """The names that transformers 5 has in memory, not in its files, are read and given back.

    Returns:
        Those names.
    """
    theirs.save_pretrained(folder)
    expected = interop.load(folder)(**inputs)[output]
    state = {name: x.numpy() for name, x in theirs.state_dict().items()}
    assert set(state) != set(open_weights(folder))
    safetensors.write(folder / "model.safetensors", state)
    model = interop.load(folder)
    np.testing.assert_array_equal(model(**inputs)[output], expected)
    returned = interop.weights_of(model)
    assert set(returned) == set(state)
    for name, x in state.items():
        np.testing.assert_array_equal(returned[name], x)
    return set(state)


def refused(folder, changes, file="config.json"):
    """Changes the config of a model on the disk; returns the one line that it is refused with."""
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError) as error:
        interop.load(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def gradients(model, inputs, loss):
    """Of a loss of our outputs, in the names and layouts of theirs."""

    def value(params):
        return loss(model.module.apply({**model.variables, "params": params}, **inputs))

    found = jax.grad(value)(model.params)
    return interop.weights_of(model, {**model.variables, "params": found})
