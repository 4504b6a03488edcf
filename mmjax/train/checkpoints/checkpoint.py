"""Checkpoints in a workdir: `checkpoints/<step>/`, written by Orbax in the background, atomically.

Each holds `state` (the TrainState), `data` (the position of the training data), `progress` (what
the loop knows besides), `metrics` (the score) and the checksums of all their files (see
`checksums`), which are checked before anything is read. What an older version wrote has none: it is
read unchecked, with a warning. Kept are the last few and the best by validation score.
"""

import contextlib
import functools
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grain.python as grain
import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from mmjax.errors import UserError
from mmjax.train.checkpoints import checksums, stored
from mmjax.train.partition import Base, Params, fill, select
from mmjax.train.state import TrainState, filled

log = logging.getLogger("mmjax")

UNFINISHED = ".orbax-checkpoint-tmp"
NO_SPACE = ("No space left", "Disk quota", "ENOSPC", "Read-only file system", "Permission denied")


def _score(metrics: dict[str, float]) -> float:
    return metrics[stored.SCORE]


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Turns a full or read-only disk, however Orbax reports it, into the user's error."""
    try:
        yield
    except Exception as error:
        reason = next((text for text in NO_SPACE if text in str(error)), None)
        if reason is None:
            raise
        raise UserError(
            f"cannot write a checkpoint to {directory}: {reason}; make room or choose another "
            "--workdir, then start again: the run resumes from its last complete checkpoint"
        ) from error


class Checkpoints:
    """The checkpoints of one workdir.

    Args:
        workdir: their parent directory.
        keep: how many of the last ones are kept, besides the best one.
        base: what they leave out, and where it is read again; None: they hold all.

    Raises:
        UserError: the directory cannot be made.
    """

    def __init__(self, workdir: str | Path, *, keep: int = 1, base: Base | None = None):
        self._base, self._keeps = base, None if base is None else base.keeps
        self.directory = Path(workdir).absolute() / "checkpoints"
        with _writing(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
        self._keep = keep
        self._reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler())

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        # It reads all scores when it is made, so what is damaged must be out of its way by then.
        policy = AnyPreservationPolicy(
            [
                LatestN(max(self._keep, 1)),
                BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False),
            ]
        )
        with _writing(self.directory):
            return ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    best_fn=_score,
                    preservation_policy=policy,
                    async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
                ),
            )

    def _seal(self) -> None:
        # Orbax calls this in its own thread when all files are written, before the directory gets
        # its name: a checkpoint without checksums never has one.
        if jax.process_index() == 0:
            for path in self.directory.glob(f"*{UNFINISHED}*"):
                checksums.write(path, stored.files_of(path))

    def _remove_half_written(self) -> None:
        for path in self.directory.glob(f"*{UNFINISHED}*"):
            log.warning("ignoring the half-written checkpoint %s", path)
            if jax.process_index() == 0:
                shutil.rmtree(path)

    def steps(self) -> list[int]:
        """The steps that have a complete checkpoint, oldest first."""
        return stored.steps_in(self.directory)

    def best_step(self) -> int | None:
        """The step with the highest validation score (the later of equals), or the last step.

        Raises:
            UserError: a score is damaged.
        """
        steps = self.steps()
        scores = {step: stored.score_of(self.directory / str(step)) for step in steps}
        scores = {step: score for step, score in scores.items() if score is not None}
        return max(scores or steps, key=lambda step: (scores.get(step, 0.0), step), default=None)

    def save(
        self,
        step: int,
        state: Any,
        data: Any,
        progress: dict[str, Any],
        score: float | None = None,
        *,
        wait: bool = False,
    ) -> None:
        """Saves in the background.

        Args:
            step: the number of batches seen.
            state: a TrainState.
            data: the Grain iterator, standing after that batch.
            progress: anything JSON holds.
            score: validation score, higher is better; None if there was no evaluation.
            wait: returns only when the checkpoint is complete.

        Raises:
            UserError: the disk is full or may not be written.
        """
        items = {
            "state": ocp.args.PyTreeSave(self._without_base(state)),
            "data": grain.PyGrainCheckpointSave(data),
            "progress": ocp.args.JsonSave(progress),
        }
        metrics = None if score is None else {stored.SCORE: float(score)}
        with _writing(self.directory):
            if step not in self._manager.all_steps():
                self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)
            if wait:
                self._manager.wait_until_finished()

    def restore_latest(self, abstract_state: Any, data: Any) -> tuple[Any, dict] | None:
        """Restores the newest readable checkpoint; `data` is moved to its position in place.

        Args:
            abstract_state: the state's shapes, types and shardings; any number of devices.
            data: the Grain iterator.

        Returns:
            (state, progress), or None if there is no checkpoint. One that cannot be read is
            set aside with a warning, and the one before is used.

        Raises:
            UserError: there are checkpoints, but none can be read, or the base cannot.
        """
        self._remove_half_written()
        steps, wanted = self.steps(), self._without_base(abstract_state)
        broken = stored.damaged(self.directory, steps)
        for step in reversed(steps):
            if step in broken:
                continue
            stored.warn_if_unchecked(self.directory / str(step))
            try:
                state = self._restore_tree(step, "state", wanted)
                rest = self._reader.restore(
                    self.directory / str(step),
                    args=ocp.args.Composite(
                        data=grain.PyGrainCheckpointRestore(data), progress=ocp.args.JsonRestore()
                    ),
                )
            # One without checksums: damage surfaces as whatever the reader of a file raises.
            except Exception as error:  # noqa: BLE001
                broken[step] = f"{type(error).__name__}: {str(error).split(chr(10))[0][:200]}"
            else:
                self._set_aside(broken)
                params = self._with_base(state.params, abstract_state.params)
                return state.replace(params=params), rest["progress"]
        if steps:
            raise UserError(
                f"none of the checkpoints {steps} in {self.directory} can be read; the newest "
                f"fails with: {broken[steps[-1]]}; start again in a new --workdir"
            )
        return None

    def _without_base(self, state: TrainState) -> TrainState:
        return state.replace(params=select(state.params, self._keeps))

    def _with_base(self, params: Params, abstract: Params) -> Params:
        if self._base is None:
            return params
        return fill(params, filled(abstract, self._base.read(), "params"))

    def _set_aside(self, broken: Mapping[int, str]) -> None:
        """Moves unreadable checkpoints out of the way of those that will be written again."""
        for step, problem in broken.items():
            path = self.directory / str(step)
            log.warning("ignoring checkpoint %s: it cannot be read (%s)", path, problem)
            target = self.directory.parent / "broken-checkpoints" / str(step)
            if jax.process_index() == 0:
                target.parent.mkdir(exist_ok=True)
                if target.exists():
                    shutil.rmtree(target)
                shutil.move(path, target)
        if broken and jax.process_count() > 1:
            multihost_utils.sync_global_devices("broken checkpoints are set aside")

    def _restore_tree(self, step: int, item: str, abstract: Any, *, partial: bool = False) -> Any:
        arguments = ocp.args.PyTreeRestore(
            item=abstract,
            restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
            partial_restore=partial,
        )
        path, wanted = self.directory / str(step), ocp.args.Composite(**{item: arguments})
        return self._reader.restore(path, args=wanted)[item]

    def restore_variables(self, step: int, abstract_state: Any) -> dict[str, Any]:
        """Reads what a model needs to be used: parameters and the model's other collections.

        Args:
            step: of the checkpoint.
            abstract_state: shapes, types and shardings by field of the state: `params`,
                `ema_params` (of those that train) or both, and `model_state`.

        Raises:
            UserError: the checkpoint is damaged or holds another model, or the base cannot be read.
        """
        stored.require_whole(self.directory / str(step))
        wanted = dict(abstract_state)
        if "params" in wanted:
            wanted["params"] = select(wanted["params"], self._keeps)
        try:
            state = self._restore_tree(step, "state", wanted, partial=True)
            params = state.get("params", state.get("ema_params"))
            params = fill(state.get("ema_params", params), params)
        except Exception as error:
            raise UserError(
                f"checkpoint {self.directory / str(step)} does not hold this model: "
                f"{str(error).splitlines()[0][:200]}; was config.json edited?"
            ) from error
        params = self._with_base(params, abstract_state.get("params"))
        return {"params": params, **state.get("model_state", {})}

    def wait(self) -> None:
        """Returns when all that was to be saved is on the disk."""
        with _writing(self.directory):
            if "_manager" in self.__dict__:
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and releases the threads."""
        with _writing(self.directory):
            if "_manager" in self.__dict__:
                self._manager.close()
        self._reader.close()
