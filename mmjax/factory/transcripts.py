"""config.data.transcript -> what the model is to write, and whether it has the tokens for it."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mmjax.data.pipeline import transcripts
from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.source import BROKEN_LIMIT
from mmjax.errors import UserError
from mmjax.factory.tables.fusions import FUSIONS
from mmjax.factory.tables.names import construct, lookup
from mmjax.models.transcriber import CharacterHead, Transcriber
from mmjax.tasks.transcription import CHARACTERS, TRANSCRIPT
from mmjax.train.checkpoints import workdir
from mmjax.types import Input

TASK = "transcription"
WHERE = "config.data.transcript"
# Fusions whose tokens are those of one modality, in their order, and the option that names it.
ORDERED = {"cross_attention": "query", "film": "target"}

_logger = logging.getLogger(__name__)


def targets(
    config: ConfigDict, path: Path, splits: Mapping[str, Any]
) -> tuple[dict[str, Arrays], tuple[str, ...]]:
    """The splits with the texts to be written as "transcript", and the alphabet they are in.

    The alphabet is that of all splits, so that no reference lacks a character; what is in the test
    split only is never learned. It is made at the first start.

    Raises:
        UserError: the data set has no such texts, or they are an input.
    """
    first = splits["train"]
    known = tuple(first.texts) if isinstance(first, Arrays) else ()
    if not known:
        raise UserError(f"config.task={TASK!r}: {first.name} has no texts that could be written")
    name = config.data.get("transcript", "")
    lookup(dict.fromkeys(known), name, f"{WHERE} ({config.data.name})")
    if name in config.modalities:
        raise UserError(f"{WHERE}={name!r} is one of config.modalities: it would be read off")
    texts = [text for split in splits.values() for text in split.texts[name]]
    file = path / workdir.LABELS_FILE
    if file.exists() and workdir.has_checkpoints(path):
        characters = tuple(workdir.read_labels(path))
    else:
        characters = transcripts.alphabet(texts)
    unknown = sorted({*transcripts.alphabet(texts)} - {*characters})
    if unknown:
        raise UserError(f"{file} lacks {''.join(unknown)!r}: the data changed; train anew")
    length = max([1, *(len(transcripts.normal(text)) for text in texts)])

    def with_target(split: Arrays) -> Arrays:
        ids, mask = transcripts.encode(split.texts[name], characters, length)
        texts = {other: rows for other, rows in split.texts.items() if other != name}
        index = dict(split.index)
        if name in index:
            index[TRANSCRIPT] = index.pop(name)
        return dataclasses.replace(
            split,
            values={**split.values, TRANSCRIPT: ids},
            masks={**split.masks, TRANSCRIPT: mask},
            texts=texts,
            index=index,
            ids={other: rows for other, rows in split.ids.items() if other != name},
            absent={other: rows for other, rows in split.absent.items() if other != name},
        )

    return {split: with_target(arrays) for split, arrays in splits.items()}, characters


def model(
    config: ConfigDict, encoders: Mapping[str, Any], classes: int, given: Mapping[str, Any]
) -> Transcriber:
    """The encoders, `config.head` over each token, and `config.fusion` if there is one.

    Raises:
        UserError: several modalities and no fusion, or one that does not keep a sequence.
    """
    spec, ordered = config.get("fusion") or ConfigDict(), ORDERED
    choices = " or ".join(f"{name!r} with {option}=NAME" for name, option in ordered.items())
    fusion = None
    if spec:
        name = spec.get("name")
        if name not in ordered or not spec.get(ordered[name]):
            raise UserError(
                f"config.fusion={name!r} keeps no sequence to write from: use {choices}"
            )
        fusion = construct(FUSIONS, spec, "config.fusion", **given)
    elif len(encoders) > 1:
        raise UserError(f"config.modalities={tuple(encoders)}: set config.fusion to {choices}")
    head = ConfigDict({"name": "characters", **config.get("head", {})})
    made = construct({"characters": CharacterHead}, head, "config.head", classes=classes, **given)
    return Transcriber(encoders=encoders, head=made, fusion=fusion)


def check_tokens(
    made: Any, example: Mapping[str, Input], splits: Mapping[str, Arrays], name: str
) -> None:
    """Raises if over 1 % of the transcripts take more tokens than the model gives.

    Fewer are counted in a warning. What an example that is shorter than the longest one has is not
    known here: the metric "too_short" says it.

    Args:
        made, example: the model, and inputs of one row.
        splits: as the data set gives them.
        name: of the texts.

    Raises:
        UserError: see above.
    """
    variables = jax.eval_shape(lambda key: made.init(key, dict(example)), jax.random.PRNGKey(0))
    outputs = jax.eval_shape(lambda given: made.apply(given, dict(example)), variables)
    tokens = outputs[CHARACTERS].shape[1]
    for split, arrays in splits.items():
        needed = [transcripts.tokens_needed(text) for text in arrays.texts[name]]
        long = sum(count > tokens for count in needed)
        line = (
            f"{split}: {long} of {len(needed)} transcripts take more tokens than the {tokens} of"
            f" the model (the longest takes {max(needed, default=0)})"
        )
        if long > BROKEN_LIMIT * len(needed):
            raise UserError(
                f"{line}: choose an encoder with more tokens a second, or leave out long examples"
            )
        if long:
            _logger.warning("%s: they teach nothing, and cannot be written", line)
