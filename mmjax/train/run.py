"""A whole run in a workdir: start or resume, train, test, report."""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from clu.metrics import Metric
from rich.console import Console

from mmjax.errors import UserError
from mmjax.tasks.keyed import TUNED
from mmjax.tasks.task import prefix
from mmjax.train import sharding
from mmjax.train.checkpoints import workdir
from mmjax.train.checkpoints.checkpoint import Checkpoints
from mmjax.train.compare import compare, without
from mmjax.train.evaluate import Evaluation, evaluate, in_slices
from mmjax.train.experiment import Experiment
from mmjax.train.host import memory_check, processes
from mmjax.train.host.signals import Interrupted, Interrupts
from mmjax.train.loop import Progress, fit
from mmjax.train.parallel import PARALLEL
from mmjax.train.partition import names_of, to_restore
from mmjax.train.reporting import console as show
from mmjax.train.reporting import report
from mmjax.train.reporting.bar import Bar
from mmjax.train.reporting.writers import Writer, read_metrics
from mmjax.train.state import TrainState, create_state, with_variables
from mmjax.train.step import eval_step, train_step
from mmjax.types import Batch

Tuned = Mapping[str, Mapping[str, np.ndarray]]


class Run:
    """An experiment with its devices, programs and checkpoints in one workdir.

    `program` is the step of training for its devices (see `mmjax.train.parallel.Program`).
    """

    def __init__(self, experiment: Experiment, directory: Path, console: Console):
        self.experiment, self.directory, self.console = experiment, directory, console
        self.put = functools.partial(sharding.put_batch, mesh=experiment.mesh)
        init = functools.partial(experiment.model.init, inputs=dict(experiment.example))
        variables = jax.eval_shape(init, jax.random.PRNGKey(0))
        params = variables["params"]
        self.trains, self.base = experiment.trains(params), experiment.base(params)
        self.optimizer, self.learning_rate = experiment.whole_optimizer(params, self.trains)

        def create() -> TrainState:
            variables = init(jax.random.PRNGKey(experiment.seed))
            ema = experiment.ema_decay > 0
            return create_state(
                variables,
                self.optimizer,
                experiment.seed,
                ema=ema,
                trains=self.trains,
                weighting=experiment.first_weighting(variables),
            )

        shapes = jax.eval_shape(create)
        self.program = PARALLEL[experiment.parallel](
            train_step,
            shapes,
            experiment.mesh,
            model=experiment.model,
            tasks=experiment.tasks,
            weights=experiment.weights,
            weighting=experiment.weighting,
            optimizer=self.optimizer,
            augment=experiment.augment,
            ema_decay=experiment.ema_decay,
            per_task_gradients=experiment.aggregator is not None,
            one_by_one=experiment.one_by_one,
            alone=experiment.alone,
            learn_alone=experiment.modulator is None,
            feature_loss=experiment.feature_loss,
        )
        self.put_training, self.whole = self.program.put, self.program.whole
        shardings = self.program.shardings
        self.create = jax.jit(create, out_shardings=shardings)
        self.abstract_state = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
        )
        self._fits = False
        self.points: Callable[[Iterable], Iterable] = iter  # see `Interrupts.points`
        self.eval_step = jax.jit(
            functools.partial(
                eval_step,
                model=experiment.model,
                tasks=experiment.tasks,
                slices=experiment.slices,
                gather=functools.partial(sharding.gather_fsdp, mesh=experiment.mesh),
            ),
            out_shardings=sharding.replicated(experiment.mesh),
        )

    def start(self) -> TrainState:
        """The state at step 0: drawn, but for what the experiment starts from."""
        state = self.create()
        given, notes = self.experiment.first_variables()
        if not given:
            return state
        loaded = set(names_of(given.get("params", {})))
        fresh = [name for name in names_of(state.params) if name not in loaded]
        some = f" ({', '.join(fresh[:4])}{', …' * (len(fresh) > 4)})" if fresh else ""
        self.say([*notes, f"newly initialised: {len(fresh)} arrays{some}"])
        return with_variables(state, given)

    def say(self, lines: Iterable[str]) -> None:
        """Prints lines as they are."""
        for line in lines:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Metric]]:
        """One step on the devices; before the first, whether it fits into memory.

        Args:
            state: of the step before; it is used up.
            batch: from `put_training`.

        Raises:
            UserError: it does not.
        """
        if not self._fits:  # what is compiled here is found again by the call
            compiled = self.program.lower(state, batch).compile()
            memory_check.require_room_for_step(compiled, self.experiment.mesh)
            self._fits = True
        return self.program.step(state, batch)

    def evaluate(
        self, variables: Any, split: str, tuned: Tuned | None = None, only: str = ""
    ) -> Evaluation:
        """The evaluation of a split.

        Args:
            tuned: by task, what was tuned on the validation split.
            only: the modality that alone is shown; "": all.
        """
        batches = self.points(self.experiment.eval_data(split))
        hidden = [name for name in self.experiment.example if only not in ("", name)]
        return evaluate(
            self.eval_step,
            self.whole(variables),
            (without(batch, hidden) for batch in batches) if hidden else batches,
            self.put,
            split=split,
            tasks=self.experiment.tasks,
            slices=self.experiment.slices,
            tuned={
                task: {TUNED + name: values for name, values in of_task.items()}
                for task, of_task in (tuned or {}).items()
            },
        )

    def tune(self, variables: Any) -> None:
        """Tunes on the validation split whatever tasks tune, and stores it in the workdir."""
        rows = self.evaluate(variables, "validation").rows
        tuned = {name: task.tune(rows[name]) for name, task in self.experiment.tasks.items()}
        if any(tuned.values()):
            workdir.write_tuned(self.directory, tuned)

    def best_variables(self, checkpoints: Checkpoints) -> tuple[int, Any]:
        """The step of the best checkpoint, and the model's variables in it."""
        step = checkpoints.best_step()
        if step is None:
            raise UserError(
                f"no checkpoint in {checkpoints.directory}; train first, without --mode=eval"
            )
        state = self.abstract_state
        wanted = to_restore(state.params, self.trains, ema=state.ema_params is not None)
        wanted["model_state"] = state.model_state
        return step, checkpoints.restore_variables(step, wanted)

    def report_test(self, variables: Any, step: int) -> dict[str, float]:
        """Evaluates the test split; prints the table and draws the pictures."""
        tasks = self.experiment.tasks
        tuned = workdir.read_tuned(self.directory, tuple(tasks))
        result = self.evaluate(variables, "test", tuned)
        for name, task in tasks.items():
            rows, first = result.rows[name], prefix(tasks, name)
            figures = task.figures(rows) if jax.process_index() == 0 else {}
            for file, figure in figures.items():
                report.save(figure, self.directory / f"{first.replace('/', '_')}{file}.png")
            grouped = in_slices(rows, self.experiment.slices)
            baselines = {suffix[1:]: task.baselines(part) for suffix, part in grouped.items()}
            of_task = {k.removeprefix(first): k for k in result.metrics if k.startswith(first)}
            show.print_results(
                self.console,
                f"{f'{name}: ' if first else ''}test set, checkpoint of step {step}",
                {name: result.metrics[key] for name, key in of_task.items()},
                {name: result.counts[key] for name, key in of_task.items()},
                baselines,
            )
        if self.experiment.baselines is not None:
            compare(self, variables, result, tuned)
        return {f"test/{name}": value for name, value in result.metrics.items()}


def test(
    experiment: Experiment, directory: Path, console: Console, interrupts: Interrupts
) -> dict[str, float]:
    """Evaluates the best checkpoint of a workdir on the test split; returns "test/METRIC"."""
    run = Run(experiment, directory, console)
    run.points = interrupts.points
    step, variables = run.best_variables(Checkpoints(directory, base=run.base))
    return run.report_test(variables, step)


def train(
    experiment: Experiment,
    directory: Path,
    console: Console,
    interrupts: Interrupts,
    *,
    verbose: bool = False,
) -> dict[str, float]:
    """Trains in a workdir, going on where it stopped; then tests the best checkpoint.

    Args:
        verbose: every line of the log is printed, too.

    Returns:
        The results of the test split, by "test/METRIC".

    Raises:
        UserError: see `fit` and `Checkpoints`.
        Interrupted: after a signal, with the state saved.
    """
    run = Run(experiment, directory, console)
    params = run.abstract_state.params
    run.say(experiment.notes)
    show.print_setup(console, params=params, mesh=experiment.mesh, sizes=experiment.sizes)
    memory_check.require_room_for_state(run.abstract_state, experiment.mesh)
    data = experiment.train_data()
    checkpoints = Checkpoints(directory, keep=experiment.keep, base=run.base)
    restored = checkpoints.restore_latest(run.abstract_state, data)
    state, progress = (run.start(), Progress()) if restored is None else restored
    if restored is not None:
        progress = Progress(**progress)
        progress.finished = experiment.schedule.is_over(int(state.step), progress.stale)
        done = "is finished; testing again" if progress.finished else "goes on from there"
        console.print(f"found a checkpoint at step {int(state.step)}: the run {done}")
    first = jax.process_index() == 0
    if first:
        workdir.seal(directory)
    echo = functools.partial(show.print_record, console) if verbose else None
    writer = Writer(directory if first else None, resume_step=int(state.step), echo=echo)
    steps = experiment.schedule.steps
    try:
        with Bar(console, start=int(state.step), steps=steps) as bar:
            state = fit(
                state,
                data,
                step_fn=run.train_step,
                put=run.put_training,
                whole=run.whole,
                evaluate=lambda variables: run.evaluate(variables, "validation"),
                learning_rate=run.learning_rate,
                checkpoints=checkpoints,
                writer=writer,
                bar=bar,
                interrupts=interrupts,
                schedule=experiment.schedule,
                progress=progress,
            )
        step, variables = run.best_variables(checkpoints)
        run.points = interrupts.points
        run.tune(variables)
        results = run.report_test(variables, step)
        records = read_metrics(directory)
        done = [record for record in records if record["step"] == int(state.step)]
        if not any(results.keys() <= record.keys() for record in done):
            writer.write(int(state.step), results | {"test/checkpoint": step})
        if first:
            report.plot_curves(records, directory / "curves.png")
        minutes = progress.seconds / 60
        console.print(f"trained for {minutes:.1f} min; all results are in {directory}")
        return results
    except Interrupted as signal:
        steps = checkpoints.steps()
        saved = f"saved at step {steps[-1]}; start again to go on" if steps else "nothing to save"
        console.print(f"{signal.signal_name}: {saved}")
        raise
    except jax.errors.JaxRuntimeError as error:
        processes.leave_if_one_is_gone(error)  # before what would wait for it
        raise
    finally:
        data.close()
        writer.close()
        checkpoints.close()
