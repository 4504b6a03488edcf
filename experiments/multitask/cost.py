"""What a step of every weighting costs: its time beside that of a plain step, and its memory.

PYTHONPATH=. python experiments/multitask/cost.py SUITE COST.jsonl [ROUNDS] [METHOD ...]

All programs are compiled first. In each round every method makes a step, in an order of its own,
with a plain step right before it: what else the machine does falls on both alike. The ratio is the
median over the rounds of step / plain step. That of "equal", the plain step compiled once more, is
what measuring adds: table.py divides by it. Memory is what XLA plans for a step besides its
arguments (`memory_analysis`, temporaries).
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from methods import EQUAL, GRADIENTS, LOSSES, MODALITIES, configure

from mmjax import cli


class Program(NamedTuple):
    """A compiled step with its state, and its bytes of temporaries and of arguments."""

    step: Any
    state: Any
    temporary: int
    arguments: int


def compiled(suite: str, method: str, batch: Any = None) -> tuple[Program, Any]:
    """The program of a method, and the batch that it was compiled for."""
    from rich.console import Console

    from mmjax import factory
    from mmjax.train.run import Run

    with tempfile.TemporaryDirectory() as directory:
        config = factory.checked(configure(suite, method, 0))
        path, experiment = factory.experiment(config, directory)
        run = Run(experiment, path, Console(quiet=True))
        state = run.create()
        if batch is None:
            data = experiment.train_data()
            batch = run.put(next(data))
            data.close()
        step = run.program.lower(state, batch).compile()
    memory = step.memory_analysis()
    sizes = memory.temp_size_in_bytes, memory.argument_size_in_bytes
    return Program(step, state, *sizes), batch


def milliseconds(program: Program, batch: Any) -> tuple[float, Program]:
    """How long a step takes, and the program with the state after it."""
    import jax

    begun = time.perf_counter()
    state, _ = jax.block_until_ready(program.step(program.state, batch))
    return 1e3 * (time.perf_counter() - begun), program._replace(state=state)


def main(suite: str, file: str, rounds: int = 30, *methods: str) -> None:
    """Measures the methods, or all of them, and writes a line for each."""
    cli.prepare_devices()
    cli.use_compilation_cache("~/.cache/mmjax/compiled")
    names = methods or (*LOSSES, *GRADIENTS, *MODALITIES)
    plain, batch = compiled(suite, EQUAL)
    programs = {name: compiled(suite, name, batch)[0] for name in (EQUAL, *names)}
    for name, program in programs.items():
        programs[name] = milliseconds(program, batch)[1]  # the first call also warms up
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    order = np.random.default_rng(0)
    for _ in range(int(rounds)):
        for name in order.permutation(list(programs)):
            before, plain = milliseconds(plain, batch)
            after, programs[name] = milliseconds(programs[name], batch)
            times[name].append((before, after))
    with Path(file).open("a") as out:
        for name, pairs in times.items():
            before, after = np.array(pairs).T
            ratios = after / before
            line = {
                "suite": suite,
                "method": name,
                "ratio": float(np.median(ratios)),
                "low": float(np.quantile(ratios, 0.25)),
                "high": float(np.quantile(ratios, 0.75)),
                "ratio_of_minima": float(after.min() / before.min()),
                "milliseconds": float(np.median(after)),
                "temporary": programs[name].temporary,
                "arguments": programs[name].arguments,
                "rounds": len(pairs),
            }
            out.write(json.dumps(line) + "\n")
            print(f"{suite} {name}: {line['ratio']:.3f}, {line['temporary'] / 2**20:.1f} MiB")


if __name__ == "__main__":
    main(*sys.argv[1:])
