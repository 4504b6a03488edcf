"""Starts this process as one of several, where a cluster or the command line says so."""

import socket
import sys
import threading
from typing import NamedTuple

import jax
from jax._src.clusters import ClusterEnv  # what jax finds by itself has no public name

from mmjax.errors import UserError, nearest
from mmjax.train.host import processes

OFF = "off"
FORM = "HOST:PORT,N,RANK of N processes, such as 10.0.0.1:1234,2,0"
LONGEST_WAIT = 300  # seconds until the others have started, too


class Member(NamedTuple):
    """This process among several.

    address: HOST:PORT of the process of rank 0.
    count: of processes.
    rank: of this one, from 0.
    """

    address: str
    count: int
    rank: int


def member(text: str) -> Member:
    """What --distributed=HOST:PORT,N,RANK says.

    Raises:
        UserError: it is nothing of that form.
    """
    where = f"--distributed={text}"
    address, *numbers = text.split(",")
    host, colon, port = address.rpartition(":")
    if len(numbers) != 2 or not host or not colon:
        near = "" if numbers or colon else f"{nearest(text, [OFF])}; or "
        raise UserError(f"{where}: {near}give {FORM}")
    for name, number in zip(("PORT", "N", "RANK"), (port, *numbers), strict=True):
        if not (number.isascii() and number.isdecimal()):
            raise UserError(f"{where}: {name} is {number!r}; give {FORM}")
    count, rank = map(int, numbers)
    if not 0 < int(port) < 2**16:
        raise UserError(f"{where}: PORT is {port}; choose one from 1 to 65535")
    if rank >= count:
        ranks = f"RANK is one from 0 to {count - 1}" if count else "N is 1 or more"
        raise UserError(f"{where}: of {count} processes there is no rank {rank}; {ranks}")
    return Member(address, count, rank)


def cluster() -> type[ClusterEnv] | None:
    """The cluster that jax sees around this process; None if it sees none.

    Raises:
        UserError: a Cloud TPU machine whose metadata cannot be asked.
    """
    try:
        # As jax does; MPI through mpi4py is only used where it is asked for.
        known = ClusterEnv._cluster_types  # noqa: SLF001 - jax says it in no other way
        kinds = (kind for kind in known if not kind.opt_in_only_method)
        return next((kind for kind in kinds if kind.is_env_present()), None)
    except OSError as error:
        raise _unclear("a cluster", error) from error


def join(text: str | None) -> None:
    """Starts `jax.distributed`, so that this process trains together with others.

    Must run before jax looks for devices. One process alone starts nothing.

    Args:
        text: of --distributed; None: as the cluster says, if jax sees one (Cloud TPU, GKE, SLURM,
            Open MPI); "off": no others.

    Raises:
        UserError: a wrong text, or the processes do not find each other.
    """
    if text == OFF or jax.distributed.is_initialized():
        return
    if text is not None:
        here = member(text)
        if here.count > 1:
            _initialize(f"--distributed={text}", *here)
        return
    found = cluster()
    if found is None:
        return
    try:
        alone = found.get_process_count() == 1
    except (OSError, ValueError, KeyError) as error:
        raise _unclear(f"the cluster ({found.name})", error) from error
    if not alone:
        _initialize(f"the cluster ({found.name})")


def _initialize(
    who: str, address: str | None = None, count: int | None = None, rank: int | None = None
) -> None:
    if address is not None and rank == 0:  # gRPC says why it cannot listen in many lines
        _require_free(who, int(address.rpartition(":")[2]))
    # Where the others do not come, jax aborts this process with a dump; this is faster.
    watch = threading.Timer(LONGEST_WAIT, _give_up, (who,))
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(address, count, rank, initialization_timeout=2 * LONGEST_WAIT)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _unclear(who, error) from error
    finally:
        watch.cancel()


def _give_up(who: str) -> None:
    late = TimeoutError(f"some did not start within {LONGEST_WAIT} s")
    print(f"mmjax: {_unclear(who, late)}", file=sys.stderr)
    processes.end(2)


def _require_free(who: str, port: int) -> None:
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("", port))
        except OSError as error:
            raise UserError(
                f"{who}: port {port} of this machine cannot be used ({error.strerror}); choose "
                "another for all processes"
            ) from error


def _unclear(who: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(
        f"{who} names several processes, and they do not find each other ({reason}): start all of "
        f"them, give --distributed={FORM}, or --distributed={OFF} for this process alone"
    )
