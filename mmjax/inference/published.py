"""A published checkpoint as a function of what users have: files, pictures and sentences."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax import interop
from mmjax.errors import UserError
from mmjax.inference import outputs, zero_shot
from mmjax.interop import answers
from mmjax.interop.preprocess.inputs import Reader, in_batches, inputs_of, reader
from mmjax.interop.preprocess.sounds.audio_inputs import ModelInputs, audio_reader, repeated
from mmjax.interop.speech import transcription
from mmjax.tasks.answers import (
    ALL_CLASSES,
    JOINED_BY,
    ONE_CLASS,
    ONE_TEXT,
    PREDICTION,
    TEXT,
    Cells,
)

# Of the outputs of a model, by kind of input, those that stand for the whole of it; the first that
# there is.
EMBEDDINGS: Mapping[str, tuple[str, ...]] = {
    "audio": ("audio_embeds", "pooler_output"),
    "image": ("image_embeds", "pooler_output"),
    "text": ("text_embeds", "sentence_embedding", "pooler_output"),
    "video": ("pooler_output",),
}
# Else the mean of its tokens.
TOKENS = ("last_hidden_state", "encoder_last_hidden_state")
# How answers stand in a table, by what a model is for.
CELLS: Mapping[str, Cells] = {
    answers.ONE: ONE_CLASS,
    answers.ANY: ALL_CLASSES,
    answers.NUMBERS: Cells(
        {PREDICTION: TEXT}, lambda found: (JOINED_BY.join(str(one["value"]) for one in found),)
    ),
}
__all__ = ["Published", "load", "reader"]


class Published(zero_shot.ZeroShot):
    """A published model with its own preprocessing; made by `mmjax.load(path)`.

    Attributes:
        model: the `mmjax.interop.Pretrained`, which takes arrays; model.module is the Linen module.
        params: its parameters.
        modalities: what it takes.
        labels: the names of its classes, if it classifies and its config names them.
        batch_size: inputs that run at once; more are cut into batches of this size.
        files: the modalities whose strings are paths.
    """

    def __init__(self, model: interop.Pretrained, batch_size: int):
        self.model, self.params, self.batch_size = model, model.params, batch_size
        self.modalities = tuple(sorted(model.architecture.parts))
        self.labels = answers.label_names(model.config, str(model.path))
        if "logit_scale" in model.params:
            self.scale = float(np.exp(np.asarray(model.params["logit_scale"]).reshape(())))
        if "logit_bias" in model.params:
            self.bias = float(np.asarray(model.params["logit_bias"]).reshape(()))
        self.files = tuple(name for name in self.modalities if name != "text")
        self._readers: dict[str, Reader] = {}
        self.outputs = self._outputs()

    def __call__(self, *, top: int | None = None, **inputs: Any) -> Any:
        """The likeliest classes of a model that classifies.

        Args:
            top: how many at most. None: 3; of a model that gives numbers, all.
            inputs: one modality: an input or a list; an image is a path, a PIL image or a uint8
                array [H W 3], a sound a path or a float32 array at the model's sample rate, a
                video a path or a uint8 array [T H W 3] of as many pictures as the model takes.

        Returns:
            [{"answer": str, "probability": float}, ...], best first; for a list a list of these.
            The probabilities add up to one, but where any number of labels may be right, or there
            is one only, each is by itself (problem_type in config.json). A model of regression
            gives [{"answer": str, "value": float}, ...], in the order of its labels.

        Raises:
            UserError: the model does not classify, or an input cannot be read.
        """
        name, value = self._single(inputs)
        if transcription.writes(self.model):
            raise UserError("this model transcribes: use transcribe(...) or embed(...)")
        found = self._run(name, self.listed(name, value))
        if "logits" not in found:
            raise UserError("this model does not classify: use embed(...) or classify(labels, ...)")
        rows = self._answers(found["logits"], top)
        return rows[0] if self.several(name, value) is None else rows

    def embed(self, *, prompt: str | None = None, **inputs: Any) -> dict[str, np.ndarray]:
        """The embeddings [inputs E] of each modality that is given, of length one, by name.

        Those of a model of a common space are its own; of another model its summary, or where it
        has none the mean of its tokens. Each is that of the input alone, whatever stands beside it.
        Of a sound, AST takes the first 10.24 s and Whisper's encoder the first 30 s, and a CLAP
        without fusion a drawn part, the same each time. For inputs and errors see `__call__`.

        Args:
            prompt: goes in front of texts: the name of one of the checkpoint's prompts, such as
                "query", or a text such as "query: "; "" for none. None: the checkpoint's default.
            inputs: see `__call__`.
        """
        if not inputs:
            raise UserError(f"nothing to embed: give {' or '.join(self.modalities)}")
        if prompt is not None and "text" not in inputs:
            raise UserError("prompt goes in front of texts: give text, too")
        found = {}
        for name, value in inputs.items():
            options = {"prompt": prompt} if name == "text" else {}
            x = self._run(name, self.listed(name, value), **options)["summary"]
            found[name] = zero_shot.unit_length(x)
        return found

    def _outputs(self) -> outputs.Outputs:
        """The columns that it adds to a table."""
        if transcription.writes(self.model):
            return outputs.of_answers({"": ONE_TEXT})
        if not self.labels:
            return outputs.of_embeddings(self.modalities)
        where = str(self.model.path)
        kind = answers.problem_of(self.model.config, len(self.labels), where)
        return outputs.of_answers({"": CELLS[kind]})

    def respond(
        self, rows: Sequence[Mapping[str, Any]], *, top: int | None = None
    ) -> list[dict[str, Any]]:
        """Of each row of inputs {"answers": ...}, where the model classifies or writes, or
        {"embeddings": {name: ...}}. For the errors see `__call__`.
        """
        said: list[dict[str, Any]] = [{} for _ in rows]
        for name in self.modalities:
            places = [i for i, row in enumerate(rows) if row.get(name) is not None]
            values = [rows[i][name] for i in places]
            if not values:
                continue
            if transcription.writes(self.model):
                texts = self.transcribe(**{name: values})
                for i, text in zip(places, texts, strict=True):
                    said[i]["answers"] = [{"answer": text}]
                continue
            found = self._run(name, values)
            if "logits" in found:
                for i, row in zip(places, self._answers(found["logits"], top), strict=True):
                    said[i]["answers"] = row
                continue
            for i, x in zip(places, zero_shot.unit_length(found["summary"]), strict=True):
                said[i].setdefault("embeddings", {})[name] = x.tolist()
        return said

    def check(self, row: Mapping[str, Any]) -> None:
        """Reads the inputs of a row, to no end; raises UserError for what cannot be read."""
        for name, value in row.items():
            if value is not None:
                list(self._reader(name)([value], 0))

    def _answers(self, logits: np.ndarray, top: int | None) -> list[list[dict[str, Any]]]:
        where = str(self.model.path)
        problem = answers.problem_of(self.model.config, logits.shape[-1], where)
        return answers.answers(logits, self.labels, problem, top, where)

    def _single(self, inputs: Mapping[str, Any]) -> tuple[str, Any]:
        if len(inputs) != 1:
            raise UserError(f"give one modality: {' or '.join(self.modalities)}")
        return next(iter(inputs.items()))

    def transcribe(
        self,
        *,
        language: str | None = None,
        task: str | None = None,
        max_new_tokens: int | None = None,
        **inputs: Any,
    ) -> str | list[str]:
        """What is said in sounds, by Whisper or a model with a head for CTC.

        Whisper takes sounds of more than 30 s in windows that begin where the last whole segment
        ended (see `mmjax.interop.speech.transcription.windows`). The text is as its own tokenizer
        decodes it, without times; Whisper's begins with a space.

        Args:
            language: of Whisper, such as "en". None: what the checkpoint forces, else the one
                that the model detects.
            task: of Whisper, "transcribe" or "translate". None: what the checkpoint forces.
            max_new_tokens: of Whisper, the most words of a window. None: what the checkpoint says.
            inputs: one modality: a sound or a list; see `__call__`.

        Raises:
            UserError: the model does not write, its folder has no tokenizer, it has no such
                language or task, or a sound cannot be read.
        """
        name, value = self._single(inputs)
        values = self._checked(name, self.listed(name, value))
        if not transcription.writes(self.model):
            raise UserError("this model does not write: use embed(...)")
        texts = transcription.transcribe(
            self.model,
            audio_reader(self.model),
            values,
            batch_size=self.batch_size,
            options={"language": language, "task": task, "max_new_tokens": max_new_tokens},
        )
        return texts[0] if self.several(name, value) is None else texts

    def _checked(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        if name not in self.modalities:
            raise UserError(f"no input {name!r}: this model takes {' and '.join(self.modalities)}")
        if not values:
            raise UserError(f"{name}: an empty list")
        return values

    def _run(self, name: str, values: Sequence[Any], **options: Any) -> dict[str, np.ndarray]:
        """summary [inputs E], and logits [inputs C] if the model classifies."""
        values = self._checked(name, values)
        read = self._reader(name)
        rows: list[dict[str, np.ndarray]] = [{} for _ in values]
        for start in range(0, len(values), self.batch_size):
            chosen = values[start : start + self.batch_size]
            for places, given in read(chosen, start, **options):
                found = self._apply(name, given)
                for row, place in enumerate(places):
                    rows[start + place] = {key: x[row] for key, x in found.items()}
        return {key: np.stack([row[key] for row in rows]) for key in rows[0]}

    def _reader(self, name: str) -> Reader:
        if name not in self._readers:
            self._readers[name] = in_batches(self.model, name)
        return self._readers[name]

    def _apply(self, name: str, given: ModelInputs) -> dict[str, np.ndarray]:
        """As `_run`, of one batch."""
        count = len(next(iter(given.inputs.values())))
        # Padded to a power of two, so that few programs are compiled.
        batch = repeated(given.inputs, self.batch_size)
        outputs = self.model(**inputs_of(self.model.architecture, batch))
        wanted = (*EMBEDDINGS[name], *TOKENS, "logits")
        outputs = {key: np.asarray(outputs[key])[:count] for key in wanted if key in outputs}
        found = {"summary": summary(name, outputs, given.real)}
        found |= {"logits": outputs["logits"]} if "logits" in outputs else {}
        return {key: averaged(x, given.owners) for key, x in found.items()}


def averaged(x: np.ndarray, owners: np.ndarray | None) -> np.ndarray:
    """The mean of the rows of each owner, all of which have some; None: a row is an input."""
    if owners is None:
        return x
    return np.stack([x[owners == owner].mean(axis=0) for owner in range(owners.max() + 1)])


def summary(name: str, outputs: Mapping[str, Any], mask: np.ndarray | None) -> np.ndarray:
    """What stands for each input: see EMBEDDINGS, else the mean of its real tokens.

    Args:
        name: of the modality.
        outputs: of the model.
        mask: which of its tokens [B N] are real; None: all.

    Raises:
        UserError: a mask of something else than the tokens.
    """
    key = next((key for key in EMBEDDINGS[name] if key in outputs), None)
    if key is not None:
        x = np.asarray(outputs[key], np.float32)
        return x.reshape(len(x), -1)  # of a ResNet of transformers it is a map of one place
    tokens = next(key for key in TOKENS if key in outputs)
    x = np.asarray(outputs[tokens], np.float32)
    if mask is None:
        return x.mean(axis=1)
    if mask.shape != x.shape[:2]:
        raise UserError(
            f"{name}: the mask has the shape {list(mask.shape)}, but the tokens of this model are"
            f" {list(x.shape[:2])}, so nothing says which of them are real: use its `model`"
        )
    return (x * mask[..., None]).sum(axis=1) / np.maximum(mask.sum(axis=1, keepdims=True), 1)


def load(path: str | Path, *, dtype: str = "float32", batch_size: int = 64) -> Published:
    """Loads a published checkpoint; for the arguments and errors see `mmjax.interop.load`."""
    return Published(interop.load(path, dtype=dtype), batch_size)
