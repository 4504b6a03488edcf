import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from mmjax.errors import UserError
from mmjax.tuning.adapter_file import load_adapter, read_adapter, save_adapter
from mmjax.tuning.lora import Lora
from mmjax.tuning.tuned import Tuned
from tests.models.tuning import toy

OPTIONS = {"name": "lora", "rank": 2}


@pytest.fixture
def saved(tmp_path):
    tuned = Tuned(toy.text_model(), Lora(rank=2))
    params = jax.jit(tuned.init)(toy.KEY, toy.texts())["params"]
    trained = jax.tree.map(lambda p, t: p + 1 if t else p, params, tuned.trains(params))
    save_adapter(tmp_path / "a.safetensors", trained, tuned.trains(params), OPTIONS)
    return tmp_path / "a.safetensors", tuned, params, trained


def test_only_what_trains_is_stored_and_it_comes_back(saved):
    path, tuned, params, trained = saved
    trains = tuned.trains(params)
    loaded = load_adapter(path, params, trains)
    assert jax.tree.structure(loaded) == jax.tree.structure(trained)
    assert toy.same(loaded, trained)
    free = {name for name, free in toy.named(trains).items() if free}
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == free
    size = sum(toy.named(params)[name].nbytes for name in free)
    assert size < path.stat().st_size < size + 250 * len(free)
    assert read_adapter(path)[1] == OPTIONS


def test_another_model_is_one_line(saved):
    path = saved[0]
    others = [
        (
            Tuned(toy.text_model(layers=3), Lora(rank=2)),
            r"block_2.* is not in the file and \(8, 2\)",
        ),
        (Tuned(toy.text_model(), Lora(rank=3)), r"is \(8, 2\) in the file and \(8, 3\)"),
        (Tuned(toy.text_model(layers=1), Lora(rank=2)), r"block_1.* and not in what trains here"),
    ]
    for other, words in others:
        new = jax.eval_shape(other.init, toy.KEY, toy.texts())["params"]
        with pytest.raises(UserError, match=words) as error:
            load_adapter(path, new, other.trains(new))
        assert "'rank': 2" in str(error.value)
        assert "\n" not in str(error.value)


def test_files_that_are_none_are_one_line(tmp_path):
    with pytest.raises(UserError, match="no adapter file"):
        read_adapter(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00\x00")
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        read_adapter(tmp_path / "cut.safetensors")
    save_file({"x": np.asarray(jnp.ones(2))}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="is no adapter file"):
        read_adapter(tmp_path / "other.safetensors")
