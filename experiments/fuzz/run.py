"""Reads damaged files with every reader: each must give a result or one `UserError` line.

python -m experiments.fuzz.run [--targets=pictures,sounds] [--count=1000] [--seed=0] [--out=DIR]

A child process reads the inputs of a target one after another, with a limit on its memory (what it
has after its imports, and MEMORY more) and an alarm; where it dies, another begins behind the input
that killed it. What failed is printed, with the number that makes it again, and summed up at the
end.
"""

import argparse
import collections
import faulthandler
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

MEMORY = 2 << 30  # bytes beside what the imports take
SECONDS = 10  # of one input, on one core
SHOWN = 40  # failures of a target in full


class TooSlow(BaseException):
    """The alarm: no reader turns it into anything else, since it is not theirs."""


def _alarm(signum: int, frame: object) -> None:
    del signum, frame
    raise TooSlow(f"over {SECONDS} s")


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def attempt(target, number: int, seed: int, folder: Path) -> tuple[str, str]:
    """(outcome, words): "read", "refused" or "failed"."""
    from mmjax.errors import UserError

    begun = time.process_time()
    signal.signal(signal.SIGPROF, _alarm)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    faulthandler.dump_traceback_later(30 * SECONDS, exit=True)  # what no signal reaches
    try:
        target(number, seed, folder)
        outcome, said = "read", ""
    except UserError as error:
        outcome, said = "refused", str(error)
        cause = error.__cause__
        if isinstance(cause, MemoryError):
            outcome = "failed"  # it asked for the memory before it said no
        if "\n" in said or len(said) > 2000:
            outcome, said = "failed", f"not one line: {said[:300]!r}"
    except BaseException as error:  # noqa: BLE001 (this is what is looked for)
        outcome, said = "failed", f"{type(error).__name__}: {error}"
        place = error.__traceback__
        while place.tb_next is not None:
            place = place.tb_next
        said += f" in {place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
    if time.process_time() - begun > SECONDS:
        outcome, said = "failed", f"took {time.process_time() - begun:.0f} s; {said}"
    return outcome, said


def child(name: str, first: int, last: int, seed: int) -> None:
    """Prints a line of JSON before and after each input."""
    from experiments.fuzz.targets import TARGETS

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[name](Path(folder))
        _limit_memory()
        for number in range(first, last):
            print(json.dumps([number]), flush=True)
            print(json.dumps([number, *attempt(target, number, seed, Path(folder))]), flush=True)


def watch(name: str, count: int, seed: int) -> tuple[collections.Counter, list]:
    """The outcomes of the inputs of a target, and its failures."""
    outcomes, failures, first = collections.Counter(), [], 0
    while first < count:
        command = [sys.executable, "-m", "experiments.fuzz.run", "--child", name]
        command += [str(first), str(count), str(seed)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        begun, done = first, first
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("["):
                continue
            number, *result = json.loads(line)
            if not result:
                begun = number + 1
                continue
            done = number + 1
            outcomes[result[0]] += 1
            if result[0] == "failed":
                failures.append((number, result[1]))
                print(f"{name} {number}: {result[1][:300]}", flush=True)
        process.wait()
        if done < count:
            killed = max(begun - 1, done)
            failures.append((killed, f"the process ended with {process.returncode}"))
            print(f"{name} {killed}: {failures[-1][1]}", flush=True)
            outcomes["failed"] += 1
            done = killed + 1
        first = done
    return outcomes, failures


def main() -> None:
    """Reads the command line; see the documentation of this module."""
    if "--child" in sys.argv:
        name, first, last, seed = sys.argv[2:]
        child(name, int(first), int(last), int(seed))
        return
    from experiments.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for name in chosen.targets.split(","):
        begun = time.monotonic()
        outcomes, _ = watch(name, chosen.count, chosen.seed)
        print(f"{name}: {dict(outcomes)} in {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
