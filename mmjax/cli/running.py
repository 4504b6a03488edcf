"""Runs a command line: errors as one line with an exit code."""

import errno
import importlib.util
import logging
import os
import sys
import traceback
from collections.abc import Callable

import jax

from mmjax.cli.flags import help_topic
from mmjax.errors import UserError
from mmjax.train.host import processes

EXHAUSTED = "RESOURCE_EXHAUSTED"  # how XLA says that there is no memory
LOWER = "lower the batch (config.data), config.width or the model's size"
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
# What mmjax[train] adds: packages by what they are imported as.
TRAINING = {"matplotlib": "matplotlib", "sklearn": "scikit-learn", "tensorboard": "tensorboard"}
PIPE = 141  # the exit code of other programs then
PATH_ERRORS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)


def run(
    main: Callable[[list[str]], None],
    argv: list[str] | None = None,
    *,
    describe: Callable[[str], str] | None = None,
) -> None:
    """Runs a command line; a user's mistake ends it with one line and exit code 2.

    Args:
        main: does what the command line says. --help prints the documentation of its module.
        argv: the command line; None: the process's own, which then ends at once even if a thread
            still prepares data.
        describe: what --help=TOPIC prints; of "" what --help prints besides.
    """
    if argv is None:
        # Python's helper process frees what workers that were stopped leave; no need to warn of it.
        sys.warnoptions.append("ignore:resource_tracker:UserWarning")
        try:
            run(main, sys.argv, describe=describe)
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
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns of what is meant to be so
    topic = help_topic(argv[1:])
    try:
        if topic is None:
            main(argv)
            return
        if not topic:
            print((sys.modules[main.__module__].__doc__ or "").strip(), "\n")
        if describe is not None:
            print(describe(topic))
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
    except BrokenPipeError:  # whoever reads what is printed, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(PIPE)
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


def require_packages() -> None:
    """Raises UserError for packages that training needs and a small installation has not."""
    missing = [
        name for module, name in TRAINING.items() if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise UserError(
            f"training needs more packages (mmjax[train]): pip install {' '.join(missing)}"
        )
