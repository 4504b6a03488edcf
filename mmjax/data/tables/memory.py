"""Tables in Python: arrays by name, a data frame, a list of rows, a data set of TFDS."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mmjax.data.sources.prepared import opened
from mmjax.data.sources.source import RandomAccess
from mmjax.data.tables.table import SPLIT, Joined, Row, Table, asked, plain
from mmjax.errors import UserError, decoding

IN_PYTHON = "in Python: "  # how what stands for data begins that no file has


def description(rows: int, kind: str) -> str:
    """What a config has in the place of files for data that are only in Python."""
    return f"{IN_PYTHON}{kind} of {rows} rows"


def refuse_description(files: Any) -> None:
    """Raises a UserError for what a config has in the place of data that are only in Python."""
    if isinstance(files, str) and files.startswith(IN_PYTHON):
        raise UserError(
            f"the data of this run were {files.removeprefix(IN_PYTHON)}, which no file has: call"
            " mmjax.fit again with them and the same workdir"
        )


class Memory:
    """Columns as sequences; see Table.

    Args:
        values: by column, arrays, lists or series of one length.
        name: for messages.

    Raises:
        UserError: there are none, or their lengths differ.
    """

    def __init__(self, values: Mapping[Any, Any], name: str = "table"):
        if not values:
            raise UserError(f"{name}: no columns; give arrays by name")
        odd = next((key for key in values if not isinstance(key, str)), None)
        if odd is not None:
            raise UserError(f"{name}: a column is called {odd!r}: give it a string for a name")
        for key, value in values.items():
            if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
                raise UserError(
                    f"{name}: column {key!r} is {type(value).__name__}: give an array or a list"
                )
        sizes = {key: len(value) for key, value in values.items()}
        if len(set(sizes.values())) > 1:
            raise UserError(f"{name}: columns of different lengths: {sizes}")
        self.name, self.columns = name, tuple(values)
        self._length = next(iter(sizes.values()))
        if not self._length:
            raise UserError(f"{name}: no rows")
        self._values = dict(values)

    def __len__(self) -> int:
        return self._length

    def read(self, index: int, columns: Sequence[str] | None = None) -> Row:
        """See Table."""
        return {name: plain(self._values[name][index]) for name in asked(self, index, columns)}

    def where(self, index: int) -> str:
        """See Table."""
        return f"{self.name}, row {index}"

    def folder(self, index: int) -> str:
        """See Table: there is none."""
        del index
        return ""


class Listed:
    """Rows as mappings, by index; see Table.

    Args:
        rows: a list, or what reads a row when it is asked for one.
        columns: their names.
        name: for messages.
        convert: by column, what makes a cell of what a row holds.
        constant: cells that are the same in all rows, by column.

    Raises:
        UserError: there are no rows.
    """

    def __init__(
        self,
        rows: RandomAccess,
        columns: Sequence[str],
        name: str = "rows",
        convert: Mapping[str, Callable[[Any], Any]] = MappingProxyType({}),
        constant: Mapping[str, Any] = MappingProxyType({}),
    ):
        if not len(rows):
            raise UserError(f"{name}: no rows")
        self.name, self.columns = name, (*columns, *constant)
        self._rows, self._convert, self._constant = rows, dict(convert), dict(constant)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int, columns: Sequence[str] | None = None) -> Row:
        """See Table.

        Raises:
            UserError: the row cannot be read, or is no mapping.
        """
        columns = asked(self, index, columns)
        try:
            row = self._rows[index]
            found = {name: self._constant.get(name, row.get(name)) for name in columns}
            for name in self._convert.keys() & found.keys():
                found[name] = self._convert[name](found[name])
        except (OSError, RuntimeError, ValueError, AttributeError, TypeError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(f"{self.where(index)} cannot be read ({said})") from error
        return {name: plain(value) for name, value in found.items()}

    def where(self, index: int) -> str:
        """See Table."""
        return f"{self.name}, row {index}"

    def folder(self, index: int) -> str:
        """See Table: there is none."""
        del index
        return ""


def of_frame(frame: Any, name: str = "data frame") -> Memory:
    """A pandas or polars DataFrame as a table."""
    # As arrays, since a series of pandas is read by label, not by place.
    return Memory({column: frame[column].to_numpy() for column in frame.columns}, name)


def of_rows(rows: Sequence[Any], name: str = "rows") -> Listed:
    """A list of dictionaries as a table; its columns are the keys of all of them.

    Raises:
        UserError: a row is no dictionary.
    """
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UserError(f"{name}: row {index} is {type(row).__name__}, not a dictionary")
    return Listed(rows, tuple(dict.fromkeys(key for row in rows for key in row)), name)


def of_tfds(folder: str) -> Table:
    """A data set that TensorFlow Datasets prepared as ArrayRecord, without TensorFlow.

    All splits, one after the other, with their names in the column `split`. Pictures stay the bytes
    of their files; a class is its name.

    Args:
        folder: of the version, with dataset_info.json in it.

    Raises:
        UserError: tensorflow-datasets is not installed, or the folder is damaged.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(f"{folder}: run: pip install tensorflow-datasets") from error
    with decoding(f"{folder} is no data set of TFDS", "give the folder of its version"):
        builder = tfds.builder_from_directory(folder)
    features = builder.info.features
    files = [name for name, f in features.items() if isinstance(f, tfds.features.Image)]
    convert: dict[str, Callable[[Any], Any]] = {}
    for name, feature in features.items():
        if isinstance(feature, tfds.features.ClassLabel):
            convert[name] = _Name(tuple(feature.names))
        elif isinstance(feature, tfds.features.Text):
            convert[name] = bytes.decode
    tables = []
    for split in builder.info.splits:
        rows = opened(builder, split, {name: tfds.decode.SkipDecoding() for name in files})
        name = f"{builder.info.name}/{split}"
        tables.append(Listed(rows, tuple(features), name, convert, {SPLIT: split}))
    return tables[0] if len(tables) == 1 else Joined(tables)


class _Name:
    def __init__(self, names: tuple[str, ...]):
        self._names = names

    def __call__(self, number: Any) -> str | None:
        return self._names[number] if number >= 0 else None  # -1 where it is not known
