"""Where the time of a training step goes: data, host, compilation, forward, backward, update.

python experiments/benchmarks/step.py --config=configs/vqa.py [--config.KEY=VALUE ...]

Medians over `--repeats` rounds in one process; the parts are interleaved, so that what else the
machine does falls on all of them alike. Compilation is measured without the persistent cache.
"""

import resource
import tempfile
import time

import jax
import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from mmjax import cli, factory
from mmjax.tasks.task import inputs_of
from mmjax.train.run import Run
from mmjax.train.step import masked_mean
from mmjax.types import MASK


def milliseconds(function, *arguments):
    """How long a call takes until its result is there; and the result."""
    begun = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return 1e3 * (time.perf_counter() - begun), result


def main(argv: list[str]) -> None:
    """Builds the experiment, measures its step and prints a table."""
    values = flags.FlagValues()
    flags.DEFINE_integer("repeats", 100, "Rounds.", lower_bound=3, flag_values=values)
    given = cli.config_arguments(argv)
    cli.parse(values, given.rest)
    cli.prepare_devices()
    config = factory.checked(factory.overridden(cli.load_config(given.file), given.keys))
    with tempfile.TemporaryDirectory() as directory:
        path, experiment = factory.experiment(config, directory)
        run = Run(experiment, path, Console())
    model, tasks = experiment.model, experiment.tasks
    state = run.create()
    data = experiment.train_data()

    def forward(params, batch):
        outputs = model.apply({"params": params}, inputs_of(tasks, batch))
        losses = [loss for task in tasks.values() for loss in task.losses(outputs, batch).values()]
        return sum(masked_mean(*rows) for rows in losses)

    first = run.put(next(data))
    programs, seconds = {}, {}
    for name, function, arguments in (
        ("forward", jax.jit(forward), (state.params, first)),
        ("gradient", jax.jit(jax.value_and_grad(forward)), (state.params, first)),
        ("augment", jax.jit(experiment.augment), (state.key, first)),
    ):
        begun = time.perf_counter()
        programs[name] = function.lower(*arguments).compile()
        seconds[name] = time.perf_counter() - begun
    begun = time.perf_counter()
    state, _ = jax.block_until_ready(run.train_step(state, first))
    programs["step"], seconds["step"] = run.train_step, time.perf_counter() - begun

    times: dict[str, list[float]] = {}
    for _ in range(values.repeats):
        round_times = {}
        begun = time.perf_counter()
        batch = next(data)
        round_times["data"] = 1e3 * (time.perf_counter() - begun)
        round_times["put"], placed = milliseconds(run.put, batch)
        round_times["augment"], _ = milliseconds(programs["augment"], state.key, placed)
        round_times["forward"], _ = milliseconds(programs["forward"], state.params, placed)
        round_times["gradient"], _ = milliseconds(programs["gradient"], state.params, placed)
        round_times["step"], (state, _) = milliseconds(programs["step"], state, placed)
        for name, value in round_times.items():
            times.setdefault(name, []).append(value)
    median = {name: float(np.median(value)) for name, value in times.items()}

    rows = {
        "data (waiting for a batch)": median["data"],
        "host (sending it to the devices)": median["put"],
        "augmentation": median["augment"],
        "forward": median["forward"],
        "backward": median["gradient"] - median["forward"],
        "update, metrics and the rest": median["step"] - median["gradient"] - median["augment"],
    }
    total = median["data"] + median["put"] + median["step"]
    table = Table("part", "ms", "share")
    for name, value in rows.items():
        table.add_row(name, f"{value:.2f}", f"{value / total:.0%}")
    table.add_row("a step in all", f"{total:.2f}", "100%", style="bold")
    console = Console()
    console.print(table)
    examples = int(np.sum(first[MASK]))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    console.print(
        f"compilation of the step {seconds['step']:.1f} s; {examples} examples in a batch"
    )
    console.print(f"peak memory {memory:.2f} GiB; {experiment.mesh.size} devices")


if __name__ == "__main__":
    cli.run(main)
