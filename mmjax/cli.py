"""What the command lines share: flags, devices, and errors as one line with an exit code."""

import contextlib
import difflib
import errno
import importlib.util
import inspect
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import flags
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.train.host import memory, processes

EXHAUSTED = "RESOURCE_EXHAUSTED"  # how XLA says that there is no memory
LOWER = "lower the batch (config.data), config.width or the model's size"
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
# What mmjax[train] adds: packages by what they are imported as.
TRAINING = {"matplotlib": "matplotlib", "sklearn": "scikit-learn", "tensorboard": "tensorboard"}
PATH_ERRORS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)


def nearest(name: str, known: Sequence[str]) -> str:
    """' did you mean X? ' and the list of what there is."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}There is: {', '.join(sorted(known)) or 'none'}"


def run(main: Callable[[list[str]], None], argv: list[str] | None = None) -> None:
    """Runs a command line; a user's mistake ends it with one line and exit code 2.

    --help prints the documentation of the module that `main` is in. Without `argv` it is the
    process's own, which then ends at once even if a thread still prepares data.
    """
    if argv is None:
        # Python's helper process frees what workers that were stopped leave; no need to warn of it.
        sys.warnoptions.append("ignore:resource_tracker:UserWarning")
        try:
            run(main, sys.argv)
        except SystemExit as end:
            if not isinstance(end.code, int):
                raise
            processes.part(end.code)
        except Exception:
            if processes.several():  # Python would wait for the others, and they for this one
                traceback.print_exc()
                processes.part(1)
            raise
        return
    if {"-h", "--help"} & set(argv[1:]):
        print((sys.modules[main.__module__].__doc__ or "").strip())
        return
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns of what is meant to be so
    try:
        main(argv)
    except UserError as error:
        print(f"mmjax: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and EXHAUSTED not in str(error):
            processes.leave_if_one_is_gone(error)
            raise
        reason = " ".join(str(error).split())[:200]
        print(f"mmjax: out of memory ({reason}): {LOWER}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno in PATH_ERRORS:
            print(f"mmjax: {error.filename}: {error.strerror}; check the path", file=sys.stderr)
            sys.exit(2)
        if error.errno not in DISK_ERRORS:
            raise
        where = f" {error.filename}" if error.filename else ""
        print(
            f"mmjax: cannot write{where}: {error.strerror}; make room, or choose another "
            "--workdir or --config.data.dir",
            file=sys.stderr,
        )
        sys.exit(2)


def parse(values: flags.FlagValues, argv: Sequence[str]) -> None:
    """Parses a command line into `values`.

    Raises:
        UserError: an unknown flag, a value of the wrong type, or words that belong to no flag.
    """
    try:
        rest = values(argv)[1:]
    except flags.Error as error:
        raise UserError(f"{' '.join(str(error).split())}") from error
    if rest:
        raise UserError(f"unexpected {rest[0]!r}; every argument is a --flag=value")


def require(values: flags.FlagValues, *names: str) -> None:
    """Raises UserError for the first of these flags that was not given."""
    for name in names:
        if not values[name].value:
            raise UserError(f"--{name} is missing: {values[name].help}")


def require_packages() -> None:
    """Raises UserError for packages that training needs and a small installation has not."""
    missing = [
        name for module, name in TRAINING.items() if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise UserError(
            f"training needs more packages (mmjax[train]): pip install {' '.join(missing)}"
        )


class Given(NamedTuple):
    """What a command line says of a config.

    file: FILE.py or FILE.py:VARIANT; "" if it names none.
    keys: of each --config.KEY=VALUE, the key and the value as text, in their order.
    rest: the command line without these.
    """

    file: str
    keys: list[tuple[str, str]]
    rest: list[str]


def config_arguments(argv: Sequence[str]) -> Given:
    """Takes --config=FILE.py[:VARIANT] and --config.KEY=VALUE out of a command line.

    Values may stand after "=" or as the next word; of several files the last counts.

    Raises:
        UserError: one of them without a value.
    """
    file, keys, rest = "", [], []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("-") or not re.fullmatch(r"--?config(\..*)?", name):
            rest.append(word)
            continue
        if not equals:
            value = next(words, "--")
            if value.startswith("--"):
                raise UserError(f"{name} has no value; write {name}=VALUE")
        _, dot, key = name.partition(".")
        if dot:
            keys.append((key, value))
        else:
            file = value
    return Given(file, keys, rest)


def load_config(argument: str) -> ConfigDict:
    """Runs `get_config` of FILE.py or FILE.py:VARIANT, or of a recipe of ours such as vqa:tiny.

    Raises:
        UserError: no such file or recipe, a file that does not run or has no get_config, an
            unknown variant, or a get_config that does not give a ConfigDict.
    """
    name, _, variant = argument.partition(":")
    path = recipes().get(name, Path(name))
    if not _is_file(path):
        known = [str(p) for p in sorted(path.parent.glob("*.py"))] if _is_dir(path.parent) else []
        known += list(recipes()) if path.parent == Path() else []
        raise UserError(f"no config file {name!r}; {nearest(name, known)}")
    spec = importlib.util.spec_from_file_location("mmjax_config", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{name} is not a Python file; a config is a .py file with get_config")
    module = importlib.util.module_from_spec(spec)
    with _running(name, path):
        spec.loader.exec_module(module)
    make = getattr(module, "get_config", None)
    if not callable(make):
        raise UserError(f"{name} has no function get_config(variant='default')")
    variants = getattr(module, "VARIANTS", None)
    if variant and variants is not None and variant not in variants:
        raise UserError(f"{name} has no variant {variant!r}; {nearest(variant, list(variants))}")
    arguments = (variant,) if variant else ()
    try:
        inspect.signature(make).bind(*arguments)
    except TypeError as error:
        asked = f"variant {variant!r}" if variant else "no variant: write FILE.py:VARIANT"
        raise UserError(
            f"{name}: get_config does not take {asked} ({error});"
            " it is get_config(variant='default')"
        ) from error
    with _running(name, path):
        config = make(*arguments)
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"{name}: get_config gives {_said(config)}; let it return an ml_collections.ConfigDict"
        )
    return config


def recipes() -> dict[str, Path]:
    """The configs that come with mmjax, by name: in the package, or in configs/ of a clone."""
    inside, beside = (Path(__file__).parents[i] / "configs" for i in (0, 1))
    return {
        path.stem: path for path in sorted((inside if inside.is_dir() else beside).glob("*.py"))
    }


def _said(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or that no name can be
        return False


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _running(name: str, path: Path) -> Iterator[None]:
    """Whatever the code of a config raises is the user's, with the line that it is in."""
    try:
        yield
    except (Exception, SystemExit) as error:
        frames, file = traceback.extract_tb(error.__traceback__), os.path.abspath(path)
        lines = [f.lineno for f in frames if os.path.abspath(f.filename) == file]
        line = f", line {lines[-1]}" if lines else ""
        raise UserError(f"{name}{line} does not run: {type(error).__name__}: {error}") from error


def make_directory(path: str | Path, flag: str) -> Path:
    """A directory, made if it is missing.

    Args:
        path: of it; ~ is the home of the user.
        flag: what said the path, for the error.

    Raises:
        UserError: it cannot be made.
    """
    try:
        directory = Path(path).expanduser()
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"{flag}={path} cannot be made a directory: {reason}; choose another"
        ) from error
    return directory


def prepare_devices() -> None:
    """One XLA device for each CPU core, unless the environment says otherwise.

    Must run before jax looks for devices. Accelerators, where there are any, are used instead. On
    Linux freed memory stays with the process (see `mmjax.train.host.memory`).
    """
    memory.keep_freed()
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", cores)


def use_compilation_cache(directory: str) -> None:
    """Keeps compiled programs in a directory, so that the next start is quick; '' keeps none."""
    if directory:
        path = make_directory(directory, "--config.compilation_cache")
        jax.config.update("jax_compilation_cache_dir", str(path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
