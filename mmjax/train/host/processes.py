"""The processes that train one run together: what one of them does when others end."""

import multiprocessing
import os
import sys
import time
from typing import NoReturn

import jax
from jax._src import distributed  # the coordination service has no public name
from jax.experimental import multihost_utils

# How the collectives and the coordination service say that another process does not answer.
GONE = (
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused"),
    *("Gloo context initialization failed", "Connect timeout", "Barrier failed", "UNAVAILABLE"),
    *("heartbeat timeout", "stopped sending heartbeats", "task is set to ERROR"),
    "remote process exited or there was a network error",  # NCCL
)
LONGEST_START = 3_600_000  # milliseconds: some may have to load much before
ENDS_TOGETHER = 5_000  # milliseconds within which the others end as well, if they do


def several() -> bool:
    """Whether this process is one of several."""
    # Not jax.process_count(): it looks for devices, and waits until the others do so, too.
    return (
        distributed.global_state.client is not None and distributed.global_state.num_processes > 1
    )


def propose(key: str, value: str) -> None:
    """Sets a key for all processes, unless one of them was faster."""
    try:
        distributed.global_state.client.key_value_set(key, value)
    except jax.errors.JaxRuntimeError as error:
        if "ALREADY_EXISTS" not in str(error):
            raise


def proposed(directory: str) -> list[tuple[str, str]]:
    """The keys below one, and their values, that any of the processes has set."""
    return distributed.global_state.client.key_value_dir_get(directory)


def meet(name: str) -> None:
    """Waits until all processes are here; one that is dead is noticed by its heartbeat."""
    distributed.global_state.client.wait_at_barrier(name, LONGEST_START)


def preempted(point: int) -> bool:
    """Whether all stop here, as jax saw a SIGTERM before anything else caught the signals.

    Args:
        point: of the run; each process asks at each of them.
    """
    watched = distributed.global_state.preemption_sync_manager is not None
    return watched and multihost_utils.reached_preemption_sync_point(point)


def leave_if_one_is_gone(error: jax.errors.JaxRuntimeError) -> None:
    """Ends this process with one line and exit code 2, if an error says that another is gone.

    Nothing is waited for: neither the devices nor a checkpoint get on without the other.
    """
    reason = next((text for text in GONE if text in str(error)), None)
    if reason is None or not several():
        return
    count, index = distributed.global_state.num_processes, distributed.global_state.process_id
    who = f"process {1 - index} of 2 is" if count == 2 else f"another of the {count} processes is"
    print(
        f"mmjax: {who} gone ({reason}): start all of them again to go on from the last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    if count > 2 and index == 0:  # with the coordination service all end; they say why before
        time.sleep(1)
    end(2)


def part(code: int) -> NoReturn:
    """Ends this process; where all end, each of them waits for the others, but not for long."""
    if several():
        try:
            distributed.global_state.client.wait_at_barrier("mmjax/end", ENDS_TOGETHER)
            jax.distributed.shutdown()
        except jax.errors.JaxRuntimeError:  # the others go on, or wait for this one in vain
            end(code)
    end(code)


def end(code: int) -> NoReturn:
    """Ends this process at once, with its workers, whatever its threads do."""
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
