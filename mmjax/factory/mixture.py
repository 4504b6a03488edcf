"""Several data sets as one, for config.data.name = "mixture"."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmjax.data.own.examples import TableSplit
from mmjax.data.own.inputs import Wanted
from mmjax.data.own.stored import Known
from mmjax.data.pipeline.mixture import Mixture, proportions
from mmjax.data.pipeline.scaling import Scale
from mmjax.data.sources.source import Source
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError, nearest

STRATEGIES = ("mixed", "alternating")


@dataclasses.dataclass(frozen=True)
class MixtureSplit:
    """The splits of several data sets, and how often each is drawn from.

    Attributes:
        name: for messages.
        parts: by name; no two have a target of one name.
        weights: of each part.
        temperature: see pipeline.mixture.proportions.
        strategy: one of STRATEGIES.
    """

    name: str
    parts: Mapping[str, Any]
    weights: Mapping[str, float]
    temperature: float
    strategy: str

    @property
    def slices(self) -> tuple[str, ...]:
        """The part of an example, and its slice there if it has several."""
        return tuple(
            name if len(part.slices) == 1 else f"{name} {slice_name}"
            for name, part in self.parts.items()
            for slice_name in part.slices
        )


def mixture(
    *,
    parts: Mapping[str, Mapping[str, Any]],
    strategy: str = "mixed",
    temperature: float = 1.0,
    dir: str = "",  # noqa: A002 - the name of config.data.dir
    image_size: int | None = None,
    seed: int = 0,
) -> dict[str, MixtureSplit]:
    """Several data sets: {"digits": {"name": "written_numbers", "weight": 2.0, ...options}, ...}.

    An example has the modalities and targets of its own data set; the rest is missing by mask. Of
    questions about images each is an example, with config.data.batch_size of them in a batch. For
    all targets at once (joint training) choose a data set whose examples have them all.

    Args:
        parts: data sets by name, each with its `name`, a `weight`, the `targets` that are wanted
            under other names ({"label": "digit"}), and its options.
        strategy: "mixed": the examples of a batch are of any; "alternating": each batch is of one.
        temperature: 1 draws by size, more draws small data sets more often, 1e9 all alike.
        dir, image_size, seed: what a data set gets of the config.

    Raises:
        UserError: an unknown strategy or data set, or one target of two data sets.
    """
    from mmjax.factory.tables.names import DATASETS, construct  # which has this data set, too

    if strategy not in STRATEGIES:
        raise UserError(
            f"config.data.options.strategy={strategy!r}: {nearest(strategy, STRATEGIES)}"
        )
    if not parts:
        raise UserError("config.data.options.parts is empty: name two data sets or more")
    given = {"dir": dir, "seed": seed} | ({} if image_size is None else {"image_size": image_size})
    found: dict[str, dict[str, Any]] = {}
    weights, taken = {}, {}
    for name, spec in parts.items():
        options = dict(spec)
        weights[name] = float(options.pop("weight", 1.0))
        names = dict(options.pop("targets", {}))
        where = f"config.data.options.parts.{name}"
        splits = construct(DATASETS, ConfigDict(options), where, **given)
        for split, rows in splits.items():
            found.setdefault(split, {})[name] = _with_names(rows, names, where)
        for target in handling(found["train"][name]).targets(found["train"][name]):
            if taken.setdefault(target, name) != name:
                raise UserError(
                    f"{where}: {taken[target]} has a target {target!r}, too: rename one with"
                    f" {where}.targets.{target}={name}_{target}"
                )
    return {
        split: MixtureSplit(f"mixture/{split}", of, weights, temperature, strategy)
        for split, of in found.items()
    }


def _with_names(split: Any, names: Mapping[str, str], where: str) -> Any:
    """A split whose targets have other names."""
    if not names:
        return split
    is_source = isinstance(split, Source)  # which has one
    known = [split.target] if is_source else getattr(split, "targets", None)
    for name in names:
        if name not in (known or ()):
            raise UserError(
                f"{where}.targets: no target {name!r}; {nearest(name, list(known or ()))}"
            )
    if is_source:
        return dataclasses.replace(split, target=names[split.target])
    targets = {names.get(name, name): target for name, target in known.items()}
    return dataclasses.replace(split, targets=targets)


def handling(split: Any) -> Any:
    """What is done with the split of a part."""
    from mmjax.factory import splits  # which has mixtures, too

    return splits.handling(split)


def targets(split: MixtureSplit) -> dict[str, Target]:
    """The targets of all parts."""
    found: dict[str, Target] = {}
    for part in split.parts.values():
        found |= handling(part).targets(part)
    return found


def with_targets(split: MixtureSplit, given: Mapping[str, Target]) -> MixtureSplit:
    """The split with the targets as a batch has them, each in its part."""
    parts = {}
    for name, part in split.parts.items():
        own = {key: given[key] for key in handling(part).targets(part) if key in given}
        parts[name] = handling(part).with_targets(part, own)
    return dataclasses.replace(split, parts=parts)


def columns(split: MixtureSplit) -> Known | None:
    """What each modality of the parts that are tables reads; None if no part is one.

    Raises:
        UserError: two tables have one modality whose numbers mean different things.
    """
    found: dict[str, Wanted] = {}
    for name, part in split.parts.items():
        inputs = part.inputs if isinstance(part, TableSplit) else {}
        for modality, wanted in inputs.items():
            known = found.setdefault(modality, wanted)
            if (known.kind, known.features) != (wanted.kind, wanted.features):
                raise UserError(
                    f"{split.name}: {modality!r} of {name} has other columns or words than that of"
                    f" another part: give it another name with parts.{name}.columns"
                )
    return Known(found, {}) if found else None


def examples(
    config: ConfigDict, split: MixtureSplit, names: tuple[str, ...], made: Any, train: bool
) -> Mixture:
    """What makes the batches of all parts."""
    parts = {
        name: handling(part).examples(config, part, inputs_of(part, names), made, train)
        for name, part in split.parts.items()
    }
    shares = proportions(
        [part.train_length() for part in parts.values()],
        weights=[split.weights[name] for name in parts],
        temperature=split.temperature,
    )
    rows = config.data.batch_size if train and split.strategy == "alternating" else 0
    counts = [len(part.slices) for part in split.parts.values()]
    return Mixture(split.name, parts, shares.tolist(), rows, counts)


def inputs_of(part: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some modalities that a part has."""
    known = {*handling(part).inputs(part)}
    return tuple(name for name in names if name in known)


def scales(config: ConfigDict, split: MixtureSplit) -> dict[str, Scale]:
    """The scales of features, by the parts that have them; the first one counts."""
    found: dict[str, Scale] = {}
    for part in split.parts.values():
        of_part = handling(part).scales(config, part)
        found = of_part | found
    return found


def slice_ids(split: MixtureSplit, target: str) -> np.ndarray:
    """The slice of each example of the part that has a target."""
    first = 0
    for part in split.parts.values():
        if target in handling(part).targets(part):
            return first + handling(part).slice_ids(part, target)
        first += len(part.slices)
    raise KeyError(target)
