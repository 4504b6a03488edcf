"""What is done with a split of a data set, whatever it is: arrays, questions, or a table's rows.

To add a kind of split, add its record to SPLITS.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from mmjax.data.own.examples import TableExamples, TableSplit
from mmjax.data.own.stored import Known
from mmjax.data.pipeline import resampling, scaling
from mmjax.data.pipeline.checks import check_shape
from mmjax.data.pipeline.examples import MODALITIES, QuestionExamples
from mmjax.data.sources.arrays import ArrayExamples, Arrays
from mmjax.data.sources.source import Source
from mmjax.data.sources.source import questions as questions_of
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError
from mmjax.factory import mixture
from mmjax.factory.make_model import example_inputs, kind_of, modalities
from mmjax.factory.tables.kinds import KINDS, Reader

Split = Arrays | Source | TableSplit | mixture.MixtureSplit
FLAT_EVALUATION = 10  # questions an image when training has one; only memory and speed depend on it


class Made(NamedTuple):
    """What turns the values of a split into inputs.

    encode: texts -> (ids, mask), by modality.
    scales: of vectors and series, by modality.
    readers: values as users have them -> inputs, by modality.
    """

    encode: Mapping[str, Callable]
    scales: Mapping[str, scaling.Scale]
    readers: Mapping[str, Reader]


class Handling(NamedTuple):
    """What is done with a split of one type.

    inputs: the names of the modalities that it has.
    named: (split, the column of each modality that has another name) -> the split by modalities.
    texts: (split, modalities) -> all texts that they read.
    strings: (split, modalities) -> those of them that are given as strings.
    targets: what it can be asked for, by name.
    with_targets: (split, targets as a batch has them) -> the split.
    examples: (config, split, modalities, Made, whether for training) -> what makes batches.
    check: (config, split); raises UserError where the model does not take its values.
    scales: (config, split) -> the scales of its features.
    slice_ids: (split, target) -> int, of each of the examples that the target is of, the index into
        the slices of the split.
    size: records and examples.
    columns: what a workdir keeps of the columns of a table; None of what is none.
    keeps: whether files are decoded when they are first read, and then kept in memory.
    """

    inputs: Callable[[Any], tuple[str, ...]]
    named: Callable[[Any, Mapping[str, str]], Any]
    texts: Callable[[Any, Collection[str]], list[str]]
    strings: Callable[[Any, Collection[str]], list[str]]
    targets: Callable[[Any], dict[str, Target]]
    with_targets: Callable[[Any, Mapping[str, Target]], Any]
    examples: Callable[[ConfigDict, Any, tuple[str, ...], Made, bool], Any]
    check: Callable[[ConfigDict, Any], None]
    scales: Callable[[ConfigDict, Any], dict[str, scaling.Scale]]
    slice_ids: Callable[[Any, str], np.ndarray]
    size: Callable[[Any], tuple[int, int]]
    columns: Callable[[Any], Known | None] = lambda _: None
    keeps: Callable[[Any], bool] = lambda _: False


def _array_texts(split: Arrays, names: Collection[str]) -> list[str]:
    return [text for name in dict.fromkeys(names) for text in split.texts[name]]


def _array_targets(split: Arrays) -> dict[str, Target]:
    return {**split.targets, **{name: Target(split.example_texts(name)) for name in split.texts}}


def _check_arrays(config: ConfigDict, split: Arrays) -> None:
    example = example_inputs(config)
    for name in modalities(config):
        if name in split.values:
            check_shape(split.name, name, split.values[name], split.masks[name], example[name])


def _array_scales(config: ConfigDict, split: Arrays) -> dict[str, scaling.Scale]:
    found = {}
    for name in modalities(config):
        kind = KINDS[kind_of(config, name)]
        if not kind.scaled or name not in split.values:
            continue
        used = split.index.get(name, np.arange(len(split)))
        used = np.unique(used[~split.absent[name]] if name in split.absent else used)
        values, mask = split.values[name], split.masks[name]
        if len(used) < len(values):
            values, mask = values[used], mask[used]
        found[name] = scaling.measure(values, mask, values.ndim - 1 - kind.step_axes)
    return found


def _questions(
    config: ConfigDict, split: Source, names: tuple[str, ...], made: Made, train: bool
) -> QuestionExamples:
    if "batch_size" in config.data:  # of examples, so each question has its own image
        count = 0
    else:
        count = config.data.questions_per_image or (0 if train else FLAT_EVALUATION)
    return QuestionExamples(split, names, count, made.encode)


def _check_images(config: ConfigDict, split: Source) -> None:
    for name in modalities(config):
        if split.column(name) != "image" or not len(split.records):
            continue
        found = QuestionExamples(split, (name,), 0, {}).image_shape
        wanted = example_inputs(config)[name].value.shape[1:]
        if found != wanted:
            raise UserError(
                f"{split.name}: images have shape {list(found)}, the config says"
                f" {list(wanted)}: set config.data.image_size"
            )


def _table_examples(
    config: ConfigDict, split: TableSplit, names: tuple[str, ...], made: Made, train: bool
) -> TableExamples:
    del config, train
    return TableExamples(split, {name: made.readers[name] for name in names})


SPLITS: Mapping[type, Handling] = MappingProxyType(
    {
        Arrays: Handling(
            inputs=lambda split: (*split.values, *split.texts),
            named=lambda split, columns: split.renamed(columns),
            texts=_array_texts,
            strings=lambda split, names: [name for name in names if name in split.texts],
            targets=_array_targets,
            with_targets=lambda split, targets: split.with_targets(targets),
            examples=lambda _, split, names, made, __: ArrayExamples(
                split, names, made.encode, made.scales
            ),
            check=_check_arrays,
            scales=_array_scales,
            slice_ids=lambda split, _: split.slice_ids,
            size=lambda split: (len(split), len(split)),
        ),
        Source: Handling(
            inputs=lambda split: (*MODALITIES, *split.columns),
            named=lambda split, columns: dataclasses.replace(split, columns=columns),
            texts=lambda split, names: (
                [t for texts in questions_of(split) for t in texts] if names else []
            ),
            strings=lambda _, names: list(names),
            targets=lambda split: {split.target: Target(np.zeros(0, np.int32), split.class_names)},
            with_targets=lambda split, _: split,
            examples=_questions,
            check=_check_images,
            scales=lambda *_: {},
            slice_ids=lambda split, _: resampling.row_slices(split),
            size=lambda split: (len(split.records), sum(map(len, questions_of(split)))),
        ),
        TableSplit: Handling(
            inputs=lambda split: tuple(split.inputs),
            named=lambda split, _: split,  # its data set was told the columns
            texts=lambda split, names: [t for n in dict.fromkeys(names) for t in split.texts(n)],
            strings=lambda split, names: [n for n in names if split.inputs[n].kind == "text"],
            targets=lambda split: dict(split.targets),
            with_targets=lambda split, targets: dataclasses.replace(split, targets=dict(targets)),
            examples=_table_examples,
            check=lambda *_: None,  # its values are decoded to what the model takes
            scales=lambda _, split: dict(split.scales),
            slice_ids=lambda split, _: split.slice_ids,
            size=lambda split: (len(split), len(split)),
            columns=lambda split: Known(
                dict(split.inputs), {name: split.columns[name] for name in split.targets}
            ),
            keeps=lambda split: (
                split.cache is not None and any(w.has_files for w in split.inputs.values())
            ),
        ),
        mixture.MixtureSplit: Handling(
            inputs=lambda split: tuple(
                dict.fromkeys(
                    n for part in split.parts.values() for n in handling(part).inputs(part)
                )
            ),
            named=lambda split, columns: dataclasses.replace(
                split,
                parts={n: handling(part).named(part, columns) for n, part in split.parts.items()},
            ),
            texts=lambda split, names: [
                text
                for part in split.parts.values()
                for text in handling(part).texts(part, mixture.inputs_of(part, tuple(names)))
            ],
            strings=lambda split, names: [
                name
                for name in names
                if any(
                    handling(part).strings(part, [name])
                    for part in split.parts.values()
                    if name in handling(part).inputs(part)
                )
            ],
            targets=mixture.targets,
            with_targets=mixture.with_targets,
            columns=mixture.columns,
            examples=mixture.examples,
            check=lambda config, split: [
                handling(part).check(config, part) for part in split.parts.values()
            ],
            scales=mixture.scales,
            slice_ids=mixture.slice_ids,
            size=lambda split: tuple(
                map(sum, zip(*(handling(p).size(p) for p in split.parts.values()), strict=True))
            ),
        ),
    }
)


def handling(split: Split) -> Handling:
    """What is done with a split of its type."""
    return SPLITS[type(split)]


def named(config: ConfigDict, split: Split) -> Split:
    """A split with the modalities' names in place of its columns'."""
    given = config.data.get("columns", {})
    columns = {name: given[name] for name in config.modalities if name in given}
    return handling(split).named(split, columns)
