"""What the command lines share: flags, devices, and errors as one line with an exit code."""

import difflib
import errno
import importlib.util
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from mmjax import memory
from mmjax.types import UserError

EXHAUSTED = "RESOURCE_EXHAUSTED"  # how XLA says that there is no memory
LOWER = "lower the batch (config.data), config.width or the model's size"
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def nearest(name: str, known: Sequence[str]) -> str:
    """' did you mean X? ' and the list of what there is."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}There is: {', '.join(sorted(known))}"


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
            _leave(end)
        return
    if {"-h", "--help"} & set(argv[1:]):
        print((sys.modules[main.__module__].__doc__ or "").strip())
        return
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns of what is meant to be so
    try:
        main(argv)
    except UserError as error:
        print(f"mmjax: {error}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and EXHAUSTED not in str(error):
            raise
        reason = " ".join(str(error).split())[:200]
        print(f"mmjax: out of memory ({reason}): {LOWER}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        where = f" {error.filename}" if error.filename else ""
        print(
            f"mmjax: cannot write{where}: {error.strerror}; make room, or choose another "
            "--workdir or --config.data.dir",
            file=sys.stderr,
        )
        sys.exit(2)


def _leave(end: SystemExit) -> None:
    # Python would wait for all threads. Several processes, though, have to part from each other.
    if not isinstance(end.code, int) or jax.distributed.is_initialized():
        raise end
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(end.code)


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


def parse_with_config(values: flags.FlagValues, argv: Sequence[str]) -> None:
    """Parses a command line with --config=FILE.py[:VARIANT] and any number of --config.KEY=VALUE.

    Raises:
        UserError: no such file, a file without get_config, an unknown variant, a misspelt key, and
            as for `parse`.
    """
    argv = list(argv)
    if "--config" in argv[:-1]:
        place = argv.index("--config")
        argv[place : place + 2] = [f"--config={argv[place + 1]}"]
    given = [a.partition("=")[2] for a in argv if a.startswith("--config=")]
    if not given:
        raise UserError("no --config; try --config=configs/vqa.py")
    config = load_config(given[-1])
    rest = [a for a in argv if not a.startswith("--config=")]
    for argument in rest:
        if argument.startswith("--config."):
            _check_key(config, argument.partition("=")[0].removeprefix("--config."))
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
    parse(values, rest)


def load_config(argument: str) -> ConfigDict:
    """Runs `get_config` of FILE.py or FILE.py:VARIANT.

    Raises:
        UserError: as for `parse_with_config`.
    """
    name, _, variant = argument.partition(":")
    path = Path(name)
    if not path.is_file():
        known = [str(p) for p in sorted(path.parent.glob("*.py"))]
        raise UserError(f"no config file {name!r}; {nearest(name, known)}")
    spec = importlib.util.spec_from_file_location("mmjax_config", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{name} is not a Python file; a config is a .py file with get_config")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{name} does not run: {type(error).__name__}: {error}") from error
    if not hasattr(module, "get_config"):
        raise UserError(f"{name} has no function get_config(variant='default')")
    variants = getattr(module, "VARIANTS", None)
    if variant and variants is not None and variant not in variants:
        raise UserError(f"{name} has no variant {variant!r}; {nearest(variant, list(variants))}")
    return module.get_config(variant) if variant else module.get_config()


def _check_key(config: ConfigDict, key: str) -> None:
    node: Any = config
    for i, part in enumerate(key.split(".")):
        part = part.partition("[")[0]
        known = list(node.keys()) if isinstance(node, ConfigDict) else []
        if part not in known:
            full = ".".join(["config", *key.split(".")[: i + 1]])
            raise UserError(f"--{full}: no such key; {nearest(part, known)}")
        node = node[part]


def prepare_devices() -> None:
    """One XLA device for each CPU core, unless the environment says otherwise.

    Must run before jax looks for devices. Accelerators, where there are any, are used instead. On
    Linux freed memory stays with the process (see `mmjax.memory`).
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
        path = Path(directory).expanduser()
        path.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
