"""What training programs put around a model: one step takes it off, whatever the architecture."""

import itertools

import numpy as np
import pytest

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.formats import safetensors
from mmjax.interop.formats.open_weights import open_weights
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.wrapping import AROUND, AVERAGED, MAX_READINGS, readings
from tests.interop import fakes

STATE = {"optimizer.state.0.exp_avg": np.ones((3, 2), np.float32), "epoch": np.array(3)}


def prefixed(tensors, *words):
    return {".".join([*words, name]): x for name, x in tensors.items()}


@pytest.fixture(scope="module")
def tensors():
    return fakes.draw(fakes.CLIP)


def write(folder, tensors):
    """A CLIP of transformers, in a file with these names."""
    fakes.write_clip(folder)
    safetensors.write(folder / "model.safetensors", tensors)
    return folder


def assert_is(folder, expected, part, tmp_path):
    """The model is `expected`, whichever names it had, and is given back under its own."""
    model = interop.load(folder)
    assert model.report.part == part
    assert model.report.unexpected == []
    found = interop.weights_of(model)
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        np.testing.assert_array_equal(found[name], x, err_msg=name)
    interop.save(model, tmp_path / "saved")
    assert open_weights(tmp_path / "saved").keys() == expected.keys()
    return model


WORDS = [*AROUND, *AVERAGED, "network_fn"]
NESTED = [
    *[(word,) for word in WORDS],
    ("state_dict", "module"),
    ("state_dict", "module", "_orig_mod"),
    ("state_dict", "_orig_mod", "module"),
    ("state_dict", "model", "_orig_mod"),
    ("model_state_dict", "net", "module"),
    ("state_dict_ema", "module", "_orig_mod"),
    ("checkpoint", "model", "model", "module"),
    ("_fsdp_wrapped_module", "module"),
]


@pytest.mark.parametrize("words", NESTED, ids=".".join)
def test_any_wrapper_is_taken_off_and_what_lies_beside_is_left(tensors, words):
    """Without building the model: the readings are pure functions of the names."""
    given = prefixed(tensors, *words) | {"scheduler.last": np.array(3.0)}
    found = [reading for reading in readings(given) if set(tensors) == set(reading.pick(given))]
    assert len(found) == 1
    for name, x in found[0].pick(given).items():
        assert x is tensors[name]


def test_every_architecture_uses_the_step(tensors, tmp_path):
    words = ("state_dict", "module")
    folder = write(tmp_path / "it", prefixed(tensors, *words) | STATE)
    model = assert_is(folder, tensors, "state_dict.module", tmp_path)
    assert sorted(model.report.beside) == sorted(STATE)
    assert "from its part 'state_dict.module'" in str(model.report)
    assert "beside the model, and not read: 2 (" in str(model.report)


@pytest.mark.parametrize(
    ("averaged", "plain"),
    [
        *itertools.product(
            [("state_dict_ema",), ("model_ema", "module"), ("state_dict", "ema_model", "module")],
            [("state_dict",), ("model",), ("state_dict", "model")],
        )
    ],
    ids=lambda words: ".".join(words),
)
def test_averaged_weights_come_first(tensors, averaged, plain, tmp_path):
    other = {name: x + 1 for name, x in tensors.items()}
    both = prefixed(other, *plain) | prefixed(tensors, *averaged)
    count = {".".join([*averaged[:-1], "n_averaged"]): np.array(7)}
    for given in (both | count, dict(reversed(both.items()))):
        checkpoint = Checkpoint(tmp_path, fakes.CLIP, given)
        architecture = architecture_of(checkpoint, np.float32)
        names = {architecture.library_name(name): name for name in given}
        assert all(names[name] == ".".join([*averaged, name]) for name in tensors)


def test_averaged_weights_that_are_not_whole_are_never_passed_over(tensors, tmp_path):
    part = dict(list(tensors.items())[:-1])
    folder = write(tmp_path, prefixed(tensors, "model") | prefixed(part, "model_ema"))
    with pytest.raises(UserError, match="1 of .* are missing in 'model_ema', such as") as caught:
        interop.load(folder)
    assert "\n" not in str(caught.value)


def test_averaged_numbers_without_names_are_left_beside(tensors, tmp_path):
    shadow = {f"ema.shadow_params.{i}": x for i, x in enumerate(tensors.values())}
    folder = write(tmp_path / "it", prefixed(tensors, "model") | shadow)
    model = assert_is(folder, tensors, "model", tmp_path)
    assert set(model.report.beside) == set(shadow)


def test_names_that_are_no_wrapper_stay(tensors, tmp_path):
    """A library's own first word is taken off only where nothing else shares the file."""
    assert_is(write(tmp_path / "it", tensors), tensors, "", tmp_path)
    folder = write(tmp_path / "two", prefixed(tensors, "backbone") | {"head.weight": np.ones(3)})
    with pytest.raises(UserError, match="tensors .* are missing"):
        interop.load(folder)


def test_a_file_of_no_architecture_shows_some_of_its_names(tmp_path):
    path = tmp_path / "it.safetensors"
    safetensors.write(path, {f"state_dict.layer{i}.weight": np.ones(2) for i in range(9)})
    with pytest.raises(UserError, match=r"'state_dict.layer0.weight', .*layer3.weight' is no mod"):
        interop.load(path)


def test_the_readings_of_hostile_names_are_few():
    names = {".".join(w): None for w in itertools.product(AROUND[:6], AVERAGED[:4], repeat=2)}
    assert len(readings(names)) <= MAX_READINGS
    assert readings({"model." * 5000 + "w": None})
