"""What the examples of a split are asked for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmjax.data.pipeline import checks
from mmjax.errors import UserError
from mmjax.types import TARGETS

CATEGORY, CATEGORIES, NUMBER, TEXT = "a class", "several classes", "a number", "a text"


@dataclasses.dataclass(frozen=True)
class Target:
    """One thing that is asked of every example.

    Attributes:
        values: int [examples], an index into `classes`: one of them is right; float
            [examples C] from 0 to 1, how right each of C classes is; float [examples], a number;
            or a string for each example.
        classes: the names of the classes, in order; () for numbers and texts.
        mask: bool [examples], or [examples L] for a text as indices int [examples L]: where it is
            known. None: everywhere.
    """

    values: Any
    classes: tuple[str, ...] = ()
    mask: np.ndarray | None = None

    @property
    def type(self) -> str:
        """CATEGORY, CATEGORIES, NUMBER or TEXT."""
        if not isinstance(self.values, np.ndarray) or self.values.dtype.kind in "OUS":
            return TEXT
        if self.values.dtype.kind in "iu":
            return CATEGORY if self.values.ndim == 1 else TEXT
        return CATEGORIES if self.values.ndim == 2 else NUMBER

    def check(self, where: str, name: str, examples: int) -> None:
        """Raises a UserError for values that cannot be, or are not one for each example."""
        if len(self.values) != examples:
            raise UserError(
                f"{where}: arrays of different lengths: {len(self.values)} of target {name!r},"
                f" {examples} examples"
            )
        what = f"target {name!r}"
        if self.mask is not None:
            checks.check_array(where, f"the mask of {what}", self.mask, "b")
            if len(self.mask) != examples:
                raise UserError(f"{where}: {len(self.mask)} masks of {what}, {examples} examples")
        kind = self.type
        if self.classes and kind not in (CATEGORY, CATEGORIES):
            checks.check_array(where, what, self.values, "iu", axes=1)
        if kind == CATEGORY:
            known = self.values if self.mask is None else self.values[self.mask]
            checks.check_indices(where, what, known, "classes", len(self.classes))
        elif kind == CATEGORIES:
            checks.check_targets(where, self.values, len(self.classes))
        elif kind == NUMBER:
            checks.check_array(where, what, self.values, "f", axes=1)
            known = self.values if self.mask is None else self.values[self.mask]
            if not np.isfinite(known).all():
                raise UserError(f"{where}: {what} holds a number that is not finite: mask it")
        elif not isinstance(self.values, np.ndarray):
            checks.check_texts(where, what, self.values)

    def rows(self, index: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values of some examples and where they are known; zeros where it is not `real`."""
        values = np.asarray(self.values)[index]
        mask = np.ones(len(index), bool) if self.mask is None else self.mask[index]
        mask = mask & real.reshape(-1, *[1] * (mask.ndim - 1))
        whole = values.dtype.kind in "iu"
        values = np.where(mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim)), values, 0)
        return values.astype(np.int32 if whole else np.float32), mask


def target_rows(
    targets: Mapping[str, Target], index: np.ndarray, real: np.ndarray
) -> dict[str, np.ndarray]:
    """`targets/NAME` and `targets/NAME_mask` of some examples, for each target that is no string.

    Args:
        targets: by name, of all examples.
        index: int [B], which examples.
        real: bool [B], False for a row that is none.
    """
    found = {}
    for name, target in targets.items():
        if isinstance(target.values, np.ndarray):
            key = TARGETS + name
            found[key], found[f"{key}_mask"] = target.rows(index, real)
    return found
