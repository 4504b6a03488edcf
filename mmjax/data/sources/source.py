"""Sources: records by index, the class names, and what is done about broken records."""

import dataclasses
import logging
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from mmjax.data.pipeline.checks import check_record
from mmjax.errors import UserError

BROKEN_LIMIT = 0.01  # the share of unreadable records above which a data set is refused
RESTORE = "restore the data set, or delete its directory to have it written anew"
_LOGGED_ONE_BY_ONE = 10

_logger = logging.getLogger(__name__)


@runtime_checkable
class RandomAccess(Protocol):
    """What has a length and items by index, such as a list or an opened TFDS split."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class _Memory(Sequence):
    """A sequence that keeps what was read once."""

    def __init__(self, items: RandomAccess):
        self._items = items
        self._read: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        if index not in self._read:
            self._read[index] = self._items[index]
        return self._read[index]

    def __getstate__(self) -> dict:
        # Sent to every worker process, which fills a memory of its own.
        return {"_items": self._items, "_read": {}}


class _Field(Sequence):
    """One decoded field of all records."""

    def __init__(self, raw: RandomAccess, name: str, decode: Callable[[Any], Any]):
        self._raw, self._name, self._decode = raw, name, decode

    def __len__(self) -> int:
        return len(self._raw)

    def __getitem__(self, index: int) -> Any:
        return self._decode(self._raw[index][self._name])


class Records(Sequence):
    """Records by index, each a dict of fields that are decoded only when they are read.

    Args:
        raw: undecoded records, each a mapping, for instance with a PNG file in `image`.
        decoders: for each field the function that decodes it.
        cache: keep raw and decoded fields in memory after the first read. Values are then shared
            between reads: do not write into them.
    """

    def __init__(
        self,
        raw: RandomAccess,
        decoders: Mapping[str, Callable[[Any], Any]],
        *,
        cache: bool = True,
    ):
        keep = _Memory if cache else (lambda items: items)
        raw = keep(raw)
        self._length = len(raw)
        self._fields = {name: keep(_Field(raw, name, f)) for name, f in decoders.items()}

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.read(index, self._fields)

    def read(self, index: int, fields: Iterable[str]) -> dict[str, Any]:
        """Decodes only `fields` of record `index`.

        Raises:
            IndexError: `index` is not in [0, len).
        """
        index = operator.index(index)
        if not 0 <= index < self._length:
            raise IndexError(f"record {index} of {self._length}")
        return {name: self._fields[name][index] for name in fields}


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set of images and questions.

    A record holds `image` uint8 [H W 3], `image_id` (int) and `questions`, a dict of equally long
    sequences: `question` (str), `answer` (index into `class_names`) and `type` (into `slices`).

    Attributes:
        name: for messages, such as "easy_vqa/train".
        records: random access; `records[i]` raises where record i is broken. One that is not as
            above counts as broken too.
        class_names: in the order of the labels; () where records hold something else,
            which is not looked at.
        slices: the kinds of question; metrics are also reported by slice.
        broken: index -> error of the records found broken so far, in this process.
        target: what the answers are called.
        columns: by modality, "image" or "text", where it has another name.
    """

    name: str
    records: Records
    class_names: tuple[str, ...]
    slices: tuple[str, ...]
    broken: dict[int, str] = dataclasses.field(default_factory=dict, compare=False)
    target: str = "label"
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def column(self, name: str) -> str:
        """What a modality reads: "image" or "text", if there is no other such name."""
        return self.columns.get(name, name)

    def read(self, index: int, fields: Iterable[str]) -> dict[str, Any] | None:
        """Reads `fields` of a record; a broken record is logged, counted and given as None.

        Raises:
            UserError: over 1 % of the records turned out to be broken.
        """
        try:
            record = self.records.read(index, fields)
            if self.class_names:
                check_record(record, len(self.class_names), len(self.slices))
            return record
        except MemoryError:
            raise
        # Decoders are open-ended, and so is what they raise. Nothing is lost: the error is logged
        # here, and repeated in the error below when it is not a matter of single records.
        except Exception as error:  # noqa: BLE001
            said = f"{type(error).__name__}: {error}"
            count_broken(self.broken, index, said, name=self.name, total=len(self.records))
            return None


def count_broken(
    broken: dict[int, str], index: int, error: str, *, name: str, total: int, advice: str = RESTORE
) -> None:
    """Counts, and logs, a record that cannot be read; one that was counted is so only once.

    Args:
        broken: index -> error of those found so far.
        index, error: of this one.
        name: of the records, for messages.
        total: how many records there are.
        advice: what to do when many are broken.

    Raises:
        UserError: over BROKEN_LIMIT of the records turned out to be broken.
    """
    if index in broken:
        return
    broken[index] = error
    count = len(broken)
    if count > BROKEN_LIMIT * total:
        first = min(broken)
        raise UserError(
            f"{name}: at least {count} of {total} records are broken, over the limit of "
            f"{BROKEN_LIMIT:.0%}; the first is record {first} ({broken[first]}): {advice}"
        )
    if count <= _LOGGED_ONE_BY_ONE or count % 100 == 0:
        message = "%s: record %d is broken and left out (%s); %d of %d so far"
        _logger.warning(message, name, index, error, count, total)


def check(source: Source) -> dict[int, str]:
    """Reads every record once and returns the errors of the broken ones by index.

    Raises:
        UserError: over 1 % of the records are broken.
    """
    fields = ("image", "questions")
    for index in range(len(source.records)):
        source.read(index, fields)
    return dict(source.broken)


def questions(source: Source) -> list[Sequence[str]]:
    """The texts of the questions of each record, () for a broken one; no image is decoded."""
    records = (source.read(index, ("questions",)) for index in range(len(source.records)))
    return [record["questions"]["question"] if record else () for record in records]


def max_questions(source: Source) -> int:
    """The largest number of questions that a record of `source` has."""
    return max(map(len, questions(source)), default=0)
