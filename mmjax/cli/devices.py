"""The devices and directories of a run."""

import os
from pathlib import Path

import jax

from mmjax.errors import UserError
from mmjax.train.host import memory


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
    memory.retain_heap()
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
