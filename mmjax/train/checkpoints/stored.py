"""What lies in a directory of checkpoints: their steps and scores, and which are damaged."""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from mmjax.errors import UserError
from mmjax.train.checkpoints import checksums

log = logging.getLogger("mmjax")

SCORE = "score"
NUMBER = re.compile("0|[1-9][0-9]*")


def steps_in(directory: Path) -> list[int]:
    """The steps that have a complete checkpoint, oldest first."""
    names = (path.name for path in directory.iterdir() if path.is_dir())
    return sorted(int(name) for name in names if NUMBER.fullmatch(name))


def files_of(checkpoint: Path) -> list[Path]:
    """All files of its items; what Orbax writes beside them, later, is no part of the run."""
    items = (path for path in checkpoint.glob("*/**/*") if path.is_file())
    return [path for path in items if not path.name.startswith(".")]


def score_of(checkpoint: Path) -> float | None:
    """The validation score, higher is better; None if there was no evaluation.

    Raises:
        UserError: it is damaged.
    """
    _require(checkpoint, "metrics/")
    return _read_score(checkpoint)


def require_whole(checkpoint: Path) -> None:
    """Raises UserError for a checkpoint that is damaged, as far as its checksums tell."""
    _require(checkpoint, "")
    warn_if_unchecked(checkpoint)


def damaged(directory: Path, steps: Sequence[int]) -> dict[int, str]:
    """Those of these steps that are damaged, and what is wrong; the same steps in every process."""
    problems = {}
    if jax.process_index() == 0:
        problems = {step: text for step in steps if (text := _damage(directory / str(step), ""))}
    if jax.process_count() > 1:
        found = np.array([step in problems for step in steps], bool)
        found = multihost_utils.broadcast_one_to_all(found)
        those = [step for step, bad in zip(steps, found, strict=True) if bad]
        problems = {step: problems.get(step, "it is damaged") for step in those}
    return problems


def warn_if_unchecked(checkpoint: Path) -> None:
    """Says so if a checkpoint has no checksums."""
    if not checksums.exist(checkpoint):
        log.warning(
            "checkpoint %s has no checksums (an older mmjax wrote it): it is read unchecked",
            checkpoint,
        )


def _read_score(checkpoint: Path) -> float | None:
    file = checkpoint / "metrics" / "metrics"
    return float(json.loads(file.read_text())[SCORE]) if file.exists() else None


def _damage(checkpoint: Path, under: str) -> str:
    problem = checksums.damage(checkpoint, under, files_of(checkpoint))
    if not problem:
        try:
            _read_score(checkpoint)
        except (OSError, ValueError, KeyError, TypeError):
            problem = "metrics/metrics holds no score"
    return problem


def _require(checkpoint: Path, under: str) -> None:
    problem = _damage(checkpoint, under)
    if problem:
        others = [step for step in steps_in(checkpoint.parent) if str(step) != checkpoint.name]
        advice = f"or load another: step {others}" if others else "or train anew"
        raise UserError(
            f"checkpoint {checkpoint} is damaged: {problem}; restore it from a copy, {advice}"
        )
