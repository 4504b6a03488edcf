"""A trained model as a function of what users have: arrays, file paths and strings."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from mmjax import factory
from mmjax.data.own.stored import Known
from mmjax.data.tables.opening import open_table
from mmjax.errors import UserError
from mmjax.inference import outputs, rows, zero_shot
from mmjax.models.aligned import MIN_TEMPERATURE
from mmjax.models.data_parallel import DataParallel
from mmjax.tasks.alignment import MATCH
from mmjax.tasks.task import Task
from mmjax.tasks.transcription import WRITTEN, spell
from mmjax.types import Input

PROBABILITIES, LOG_ODDS = "probabilities", "log_odds"
Predictions = dict[str, dict[str, np.ndarray]]  # by task and name


class Predictor(zero_shot.ZeroShot):
    """Answers about whatever modalities the model was trained on; made by `load`.

    With embeddings (`config.task = "alignment"`), `similarity` and `classify` compare them; see
    `mmjax.inference.zero_shot.ZeroShot`.

    Attributes:
        model, variables: the Linen module and its variables, for everybody who wants more.
        params: the variables' parameters.
        tasks: by name, what turns outputs into predictions and answers.
        vocabularies: by task, the names of its classes; of one that writes, its characters.
        labels: those of the first task.
        modalities: the names of the inputs.
        batch_size: examples that run at once; more are cut into batches of this size.
        tuned: by task, what was tuned on the validation split, such as "thresholds" [C].
        axes: by modality, how many one input has as an array; an array with one more is several.
        files: the modalities whose strings are paths.
        arrays: those whose strings are numbers in JSON or the paths of .npy files.
        columns, targets: of a run on a table, those that each modality reads and those that are
            asked for, by name.
        config, directory: of the run.
        outputs: the columns that it adds to a table.
        readers: values as users have them -> inputs, by modality.
        texts: the first modality that is text.
    """

    def __init__(
        self,
        *,
        model: Any,
        variables: Any,
        tasks: Mapping[str, Task],
        vocabularies: Mapping[str, Sequence[Any]],
        readers: Mapping[str, Callable[[Sequence[Any]], Input]],
        axes: Mapping[str, int],
        files: Collection[str],
        texts: str,
        batch_size: int,
        config: Any,
        directory: Path,
        arrays: Collection[str],
        known: Known,
        tuned: Mapping[str, Mapping[str, np.ndarray]] = MappingProxyType({}),
        logits: tuple[float, float | None] | None = None,
    ):
        self.model, self.variables, self.tasks = model, variables, dict(tasks)
        self.params = variables["params"]
        self.vocabularies = {name: tuple(words) for name, words in vocabularies.items()}
        self.labels = next(iter(self.vocabularies.values()), ())
        self.modalities, self.batch_size, self.tuned = tuple(readers), batch_size, tuned
        self.readers, self.axes, self.files, self.texts = readers, axes, tuple(files), texts
        self.arrays, self.columns, self.targets = tuple(arrays), known.inputs, known.targets
        self.config, self.directory = config, directory
        self.outputs = outputs.of_tasks(self.tasks, self.modalities)
        if logits is not None:
            self.scale, self.bias = logits
        elif "logit_scale" in self.params:
            temperature = float(np.exp(-self.params["logit_scale"]))
            self.scale = 1 / max(temperature, MIN_TEMPERATURE)

        def predicted(variables: Any, inputs: Any) -> dict[str, jax.Array]:
            outputs = model.apply(variables, inputs)
            return {
                f"{name}/{key}": x
                for name, task in self.tasks.items()
                for key, x in task.predict(outputs).items()
            }

        self._apply = DataParallel(predicted)

    def __call__(self, data: Any = None, /, *, top: int | None = None, **inputs: Any) -> Any:
        """The likeliest answers with their probabilities.

        Args:
            data: a table in place of inputs: a data frame, a dictionary of columns, a list of
                dictionaries or a file. It has the columns of the training, or one for each
                modality; what else it has is not read.
            inputs: by modality; an image is a path, a PIL image or a uint8 array [H W 3], a sound a
                path or an array no longer than an example, a video a path or an array with no more
                pictures, a series an array with no more steps, a text a string, everything else an
                array of the shape of an example, or its numbers in JSON or the path of a .npy file.
                Of a run on a table a modality of several columns may also be a dictionary of cells,
                such as {"age": 3, "color": "red"}, of which any may be missing.
                For a path the bytes of a file or an open one. Or
                lists of these, or arrays with one axis more, or both: a single input beside a list
                serves all of it. A modality may be missing, or None in a list: the model then
                answers from what there is. So may a number of a vector, or a step of a series:
                None, NaN, or masked in a numpy.ma array.
            top: how many answers at most. None: 3; where any number of labels may be right, all
                those that reach their thresholds. A model that writes has one answer, a text.

        Returns:
            For single inputs [{"answer": str, "probability": float}, ...], best first; for a list
            or a table a list of these. A task of numbers gives [{"answer": float}]. A model of
            several tasks gives {task: answers} in place of answers.

        Raises:
            UserError: no input, lists of different lengths, an input that cannot be read, or a
                model that gives embeddings.
        """
        found, single = self._predict(self._given(data, inputs))
        answers = self._answers(found, top)
        return answers[0] if single else answers

    def _given(self, data: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs by modality, of a table if there is one."""
        if data is None:
            return inputs
        if inputs:
            raise UserError(f"give a table or {' and '.join(inputs)}, not both")
        table = open_table(data)
        names = [name for name in rows.names_of(self) if name in table.columns]
        return rows.of_modalities(rows.of_table(table, self, names), self)

    def respond(
        self, rows: Sequence[Mapping[str, Any]], *, top: int | None = None
    ) -> list[dict[str, Any]]:
        """Of each row of inputs {"answers": ...} as of `__call__`, or {"embeddings": {name: ...}}.

        For the errors see `__call__`.
        """
        found, _ = self._predict({name: [row[name] for row in rows] for name in self.modalities})
        if any(task.answer for task in self.tasks.values()):
            return [{"answers": answers} for answers in self._answers(found, top)]
        (embedded,) = found.values()
        return [
            {"embeddings": {n: embedded[n][i].tolist() for n in embedded if row.get(n) is not None}}
            for i, row in enumerate(rows)
        ]

    def check(self, row: Mapping[str, Any]) -> None:
        """Reads the inputs of a row, to no end; raises UserError for what cannot be read."""
        for name, read in self.readers.items():
            read([row[name]])

    def evaluate(self, data: Any) -> dict[str, float]:
        """The losses and metrics on a table with the targets, as the table of the test split has
        them; see `mmjax.inference.evaluating.evaluate`.
        """
        from mmjax.inference import evaluating

        return evaluating.evaluate(self, data)

    def _answers(self, found: Predictions, top: int | None) -> list[Any]:
        answers = {}
        for name, task in self.tasks.items():
            if task.answer is None:
                raise UserError(f"this model does not predict {PROBABILITIES}; use embed(...)")
            answers[name] = task.answer(found[name], self.tuned.get(name, {}), top)
        if len(answers) == 1:
            return next(iter(answers.values()))
        return [dict(zip(answers, of, strict=True)) for of in zip(*answers.values(), strict=True)]

    def _task(self, name: str | None) -> str:
        if name is None and len(self.tasks) > 1:
            raise UserError(f"this model has several tasks: give task={' or '.join(self.tasks)}")
        name = next(iter(self.tasks)) if name is None else name
        factory.lookup(self.tasks, name, "predict: task")
        return name

    def probabilities(
        self, data: Any = None, /, *, task: str | None = None, **inputs: Any
    ) -> np.ndarray:
        """The probability of every class, [examples C] in the order of `labels`; see `__call__`.

        Args:
            task: by name, of a model of several.
            data, inputs: see `__call__`.
        """
        name = self._task(task)
        found, _ = self._predict(self._given(data, inputs))
        made = self.tasks[name].probabilities
        if made is None:
            self._find(found[name], PROBABILITIES, "use embed(...)")
        return made(found[name], self.tuned.get(name, {}))

    def log_odds(self, *, task: str | None = None, **inputs: Any) -> np.ndarray:
        """log p / (1 - p) of the `probabilities`, float32 [examples C]: what to rank examples by.

        In float32 a probability is 1.0 from a log-odds of 17 on, and all order above that is lost.
        """
        name = self._task(task)
        return self._find(self._predict(inputs)[0][name], LOG_ODDS, "use embed(...)")

    def transcribe(self, *, task: str | None = None, **inputs: Any) -> str | list[str]:
        """The text of each example, by a model that writes; inputs and errors as of `__call__`."""
        name = self._task(task)
        rows, single = self._predict(inputs)
        ids = self._find(rows[name], WRITTEN, "call it, or use embed(...)")
        texts = spell(ids, self.vocabularies[name]).tolist()
        return texts[0] if single else texts

    def embed(self, **inputs: Any) -> dict[str, np.ndarray]:
        """The embeddings [examples E] of the modalities that are given, of length one, by name.

        Products of those of two modalities are their cosine similarities. A missing input, None in
        a list, has zeros. For the inputs and errors see `__call__`.
        """
        rows = self._all(self._predict(inputs)[0])
        given = [name for name, value in inputs.items() if value is not None]
        return {name: self._find(rows, name, "it answers: call it") for name in given}

    def match(self, **inputs: Any) -> np.ndarray:
        """The probability that the two inputs of each example belong together, [examples].

        By a model with `config.matching`, which fuses the two: slower and finer than `similarity`,
        for what that finds. An example that lacks one of the two has nan.

        Raises:
            UserError: not two modalities, a model without such a head, or as `__call__`.
        """
        if len(inputs) != 2:
            raise UserError(f"match is of two modalities, got {', '.join(inputs) or 'none'}")
        rows = self._all(self._predict(inputs)[0])
        return self._find(rows, MATCH + "-".join(sorted(inputs)), "it has no config.matching")

    def _all(self, found: Predictions) -> dict[str, np.ndarray]:
        return {name: x for rows in found.values() for name, x in rows.items()}

    def _find(self, rows: Mapping[str, np.ndarray], name: str, instead: str) -> np.ndarray:
        if name not in rows:
            instead = "use transcribe(...)" if WRITTEN in rows else instead
            kind = "an embedding of " if name in self.modalities else ""
            raise UserError(f"this model does not predict {kind}{name}; {instead}")
        return rows[name]

    def _predict(self, inputs: Mapping[str, Any]) -> tuple[Predictions, bool]:
        given = {name: value for name, value in inputs.items() if value is not None}
        for name in given:
            factory.lookup(dict.fromkeys(self.modalities), name, "predict: input")
        if not given:
            raise UserError(f"nothing to predict from: give {' or '.join(self.modalities)}")
        listed = {name: self.several(name, value) for name, value in given.items()}
        lists = {name: values for name, values in listed.items() if values is not None}
        if len({len(v) for v in lists.values()}) > 1:
            sizes = ", ".join(f"{len(v)} {name}" for name, v in lists.items())
            raise UserError(f"inputs of different lengths: {sizes}; give one of each an example")
        count = len(next(iter(lists.values()))) if lists else 1
        rows = {name: lists.get(name, [given.get(name)] * count) for name in self.modalities}
        # With nothing in the lists one blank row runs all the same, for the shapes.
        size = self.batch_size
        parts = [
            self._batch({name: values[i : i + size] for name, values in rows.items()}, i, lists)
            for i in range(0, count, size)
        ] or [self._batch({name: [None] for name in rows}, 0, lists)]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        found: Predictions = {name: {} for name in self.tasks}
        for name, array in joined.items():
            task, _, key = name.partition("/")
            found[task][key] = array[:count]
        return found, not lists

    def _batch(
        self, rows: Mapping[str, Sequence[Any]], first: int, lists: Collection[str]
    ) -> dict[str, np.ndarray]:
        count = len(next(iter(rows.values())))
        # Padded to a power of two, so that few programs are compiled.
        size = min(1 << (count - 1).bit_length(), self.batch_size)
        padded = {name: [*values, *[None] * (size - count)] for name, values in rows.items()}
        inputs = {
            name: zero_shot.read_rows(self.readers[name], values, first, name in lists)
            for name, values in padded.items()
        }
        predicted = self._apply(self.variables, inputs)
        return {name: np.asarray(rows)[:count] for name, rows in predicted.items()}
