import errno
import gc
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.train import sharding
from mmjax.train.checkpoints import checkpoint
from mmjax.train.checkpoints.checkpoint import Checkpoints
from tests.train.toy import Stream, Toy, make_batch, same

# Tensorstore drops the futures of a failed read; Python reports their exceptions once more when it
# collects them, be it in a later test.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collect_dropped_futures():
    yield
    gc.collect()


def abstract(state, mesh=None):
    def leaf(x, s):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)

    mesh = mesh or sharding.make_mesh(data=1, fsdp=1, tensor=1, rows=(8,))
    return jax.tree.map(leaf, state, sharding.state_sharding(state, mesh))


def save(workdir, steps, *, keep=1, scores=None):
    toy, data = Toy(), Stream()
    state = toy.state
    checkpoints = Checkpoints(workdir, keep=keep)
    for step in range(1, steps + 1):
        state, _ = toy.step(state, next(data))
        score = None if scores is None else scores[step - 1]
        checkpoints.save(step, state, data, {"step": step}, score)
    checkpoints.wait()
    checkpoints.close()
    return state


def test_what_was_saved_comes_back_bit_for_bit(tmp_path):
    state = save(tmp_path, 3)
    data = Stream()
    restored, progress = Checkpoints(tmp_path).restore_latest(abstract(state), data)
    assert same(restored, state)
    assert data.position == 3
    assert progress == {"step": 3}


def test_an_empty_workdir_has_nothing_to_restore(tmp_path):
    assert Checkpoints(tmp_path).restore_latest(abstract(Toy().state), Stream()) is None


@pytest.mark.parametrize(
    ("keep", "scores", "kept", "best"),
    [
        (1, [0.1, 0.9, 0.5, 0.3], [2, 4], 2),
        (2, [0.1, 0.9, 0.5, 0.3], [2, 3, 4], 2),
        (1, [0.9, 0.9, 0.9, 0.1], [3, 4], 3),
        (1, [0.9, None, None, None], [1, 4], 1),
        (1, [float("-inf"), 0.1, 0.2, 0.3], [4], 4),
    ],
)
def test_the_best_and_the_last_are_kept(tmp_path, keep, scores, kept, best):
    save(tmp_path, 4, keep=keep, scores=scores)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == kept
    assert checkpoints.best_step() == best


def test_a_half_written_checkpoint_is_ignored_with_a_warning(tmp_path, caplog):
    state = save(tmp_path, 1)
    half = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "checkpoints" / "1", half)
    (half / "state" / "manifest.ocdbt").unlink()
    checkpoints = Checkpoints(tmp_path)
    assert half.exists()  # a reader leaves alone what a running training may be writing
    with caplog.at_level(logging.WARNING, "mmjax"):
        restored, _ = checkpoints.restore_latest(abstract(state), Stream())
    assert same(restored, state)
    assert "half-written" in caplog.text
    assert not half.exists()


def damage_state(path):
    for file in (path / "state").rglob("*"):
        if file.is_file() and file.parent.name == "d":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lose_state(path):
    shutil.rmtree(path / "state")


def lose_position(path):
    shutil.rmtree(path / "data")


@pytest.mark.parametrize("damage", [damage_state, lose_state, lose_position])
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_is_used(
    tmp_path, caplog, damage
):
    save(tmp_path, 2, keep=2)
    damage(tmp_path / "checkpoints" / "2")
    checkpoints, data = Checkpoints(tmp_path, keep=2), Stream()
    with caplog.at_level(logging.WARNING, "mmjax"):
        restored, progress = checkpoints.restore_latest(abstract(Toy().state), data)
    assert (int(restored.step), data.position, progress) == (1, 1, {"step": 1})
    assert "checkpoints/2" in caplog.text
    assert (tmp_path / "broken-checkpoints" / "2").is_dir()
    assert checkpoints.steps() == [1]
    checkpoints.save(2, restored, data, {"step": 2}, wait=True)
    assert checkpoints.steps() == [1, 2]


def test_if_none_can_be_read_nothing_is_moved_and_it_is_an_error(tmp_path):
    save(tmp_path, 1)
    damage_state(tmp_path / "checkpoints" / "1")
    with pytest.raises(UserError, match=r"none of the checkpoints \[1\]"):
        Checkpoints(tmp_path).restore_latest(abstract(Toy().state), Stream())
    assert (tmp_path / "checkpoints" / "1").is_dir()


def test_saved_on_two_devices_it_goes_on_with_one_and_with_eight(tmp_path):
    toy, two = Toy(), sharding.make_mesh(data=2, fsdp=1, tensor=1, rows=(8,))
    state = jax.device_put(toy.state, sharding.state_sharding(toy.state, two))
    state, _ = toy.step(state, sharding.put_batch(make_batch(), two))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, Stream(), {}, wait=True)
    expected, _ = toy.step(state, sharding.put_batch(make_batch(seed=1), two))
    for count in (1, 8):
        mesh = sharding.make_mesh(data=count, fsdp=1, tensor=1, rows=(8,))
        restored, _ = checkpoints.restore_latest(abstract(state, mesh), Stream())
        assert same(restored, state)
        assert restored.params["Dense_0"]["kernel"].sharding.mesh.size == count
        got, _ = toy.step(restored, sharding.put_batch(make_batch(seed=1), mesh))
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_parameters_alone_are_read_without_the_rest(tmp_path):
    state = save(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path)
    shapes = {"params": abstract(state).params, "model_state": {}}
    assert same(checkpoints.restore_variables(1, shapes), {"params": state.params})
    wrong = jax.tree.map(lambda x: x.update(shape=(7, *x.shape[1:])), shapes)
    with pytest.raises(UserError, match="does not hold this model"):
        checkpoints.restore_variables(1, wrong)


def test_a_full_disk_is_the_users_error(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", full)
    with pytest.raises(UserError, match="No space left.*checkpoints|checkpoints.*No space left"):
        checkpoints.save(1, Toy().state, Stream(), {})
    with pytest.raises(ZeroDivisionError), checkpoint._writing(tmp_path):
        jnp.array(1 // 0)
