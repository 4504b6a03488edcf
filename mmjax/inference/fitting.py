"""Data in Python -> a trained model, by the run that a command line starts."""

import contextlib
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from mmjax import cli, factory
from mmjax.data.own.own import is_by_split
from mmjax.data.tables import memory
from mmjax.data.tables.opening import open_table
from mmjax.errors import UserError
from mmjax.factory.config.typed import plain
from mmjax.inference import folds as of_folds
from mmjax.inference import loading
from mmjax.inference.folds import CrossValidation
from mmjax.inference.predictor import Predictor
from mmjax.train import run
from mmjax.train.host.signals import Interrupted
from mmjax.train.host.together import interrupts as catching

RECIPE = "own"


def fit(
    data: Any,
    /,
    *,
    target: str | Sequence[str] | None = None,
    minutes: float | int | None = None,
    workdir: str | Path | None = None,
    config: str | ConfigDict | None = None,
    quiet: bool = False,
    **config_keys: Any,
) -> Predictor:
    """Trains on a table as `mmjax --config=own` does, tests, and loads the best checkpoint.

    Args:
        data: a data frame, arrays by name, a list of dictionaries, a path or several, or these by
            split: {"train": ..., "test": ...}.
        target: the column that is to be predicted, or several. None: what the config says; without
            any, several modalities are aligned.
        minutes: of training at most. None: what the config says, which is 2.
        workdir: where everything goes; where a run was interrupted, the same call goes on. None: a
            directory that is gone when the predictor is.
        config: a recipe such as "own:tiny", or a config. None: the recipe "own".
        quiet: whether nothing is printed.
        config_keys: of the config, such as train={"steps": 500} or fusion="concat".

    Raises:
        UserError: whatever is wrong with the data or the config, in one line.
        KeyboardInterrupt: after Ctrl-C; in a workdir of yours the state is saved.
    """
    tree = _config(data, target, minutes, config, config_keys)
    if tree.data.get("folds"):
        raise UserError("fit trains once: for folds, call mmjax.cross_validate(data, folds=5, ...)")
    console = Console(quiet=quiet)
    chosen, splits = factory.filled(tree, console, data)
    chosen = factory.checked(chosen)
    with _directory(workdir) as (directory, temporary):
        with _signals() as interrupts:
            cli.use_compilation_cache(chosen.compilation_cache)
            path, experiment = factory.experiment(chosen, directory, data=splits)
            run.train(experiment, path, console, interrupts)
        predictor = loading.load(path)
        if temporary:
            weakref.finalize(predictor, shutil.rmtree, directory, ignore_errors=True)
    return predictor


def cross_validate(
    data: Any,
    /,
    *,
    folds: int = 5,
    target: str | Sequence[str] | None = None,
    minutes: float | int | None = None,
    workdir: str | Path | None = None,
    config: str | ConfigDict | None = None,
    quiet: bool = False,
    **config_keys: Any,
) -> CrossValidation:
    """Trains once for each fold of a table, as `mmjax --config=own --config.data.folds=5` does.

    Args:
        data: see `fit`; not by split.
        folds: how many; each row is in the test split of one of them.
        minutes: of training at most, for each fold.
        target, workdir, config, quiet, config_keys: see `fit`.

    Returns:
        The scores of each fold, and of each row what the model says that was not trained on it.

    Raises:
        UserError: whatever is wrong with the data or the config, in one line.
        KeyboardInterrupt: after Ctrl-C; in a workdir of yours the state is saved.
    """
    tree = _config(data, target, minutes, config, config_keys)
    tree.data.folds = folds
    with _directory(workdir) as (directory, temporary), _signals() as interrupts:
        found = of_folds.cross_validate(
            tree, directory, Console(quiet=quiet), interrupts, files=data
        )
    if temporary:
        shutil.rmtree(directory)
    return found


def _config(
    data: Any,
    target: str | Sequence[str] | None,
    minutes: float | int | None,
    config: str | ConfigDict | None,
    config_keys: Mapping[str, Any],
) -> ConfigDict:
    """The config of a run on data in Python; the devices are ready then."""
    cli.require_packages()
    with contextlib.suppress(RuntimeError):  # jax has found its devices already: they stay
        cli.prepare_devices()
    given = config if isinstance(config, ConfigDict) else cli.load_config(config or RECIPE)
    tree = plain(factory.overridden(given, list(_flat(config_keys))))
    known = {} if target is None else {"target": target if isinstance(target, str) else (*target,)}
    tree["data"] = {**tree.get("data", {}), "files": _files(data), **known}
    if minutes is not None:
        tree["train"] = {**tree.get("train", {}), "minutes": float(minutes)}
    return ConfigDict(tree)


@contextlib.contextmanager
def _directory(workdir: str | Path | None) -> Iterator[tuple[str, bool]]:
    """A workdir, and whether it is temporary; one of these is gone if anything fails inside."""
    if workdir is not None:
        yield str(workdir), False
        return
    made = tempfile.mkdtemp(prefix="mmjax-")
    try:
        yield made, True
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


@contextlib.contextmanager
def _signals() -> Iterator[Any]:
    """What catches signals, which only the main thread can; Ctrl-C is Python's own error again."""
    interrupts = catching()
    is_main = threading.current_thread() is threading.main_thread()
    try:
        with interrupts if is_main else contextlib.nullcontext():
            yield interrupts
    except Interrupted as signal:
        raise KeyboardInterrupt from signal


def _flat(keys: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys as a command line has them, with their values as text."""
    for key, value in keys.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else repr(value)


def _files(data: Any) -> Any:
    """What a config has for the data: their paths, or what stands for data in Python."""
    if is_by_split(data):
        return {str(name): _files(value) for name, value in data.items()}
    if isinstance(data, (str, Path)):
        return str(data)
    if isinstance(data, (list, tuple)) and data and all(isinstance(x, (str, Path)) for x in data):
        return tuple(map(str, data))
    kind = "a data frame" if hasattr(data, "columns") and hasattr(data, "shape") else "a table"
    return memory.description(len(open_table(data)), kind)
