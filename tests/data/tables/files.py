"""What the tests of tables write and read."""

import io
import pickle
import tarfile

import numpy as np
import pytest

from mmjax.data.tables.table import read_many
from mmjax.errors import UserError


def rows(table):
    """All rows; the line of the error for what is broken."""
    found = []
    for index in range(len(table)):
        try:
            found.append(table.read(index))
        except UserError as error:
            found.append(str(error))
    check_many(table, found)
    return found


def check_many(table, found):
    """Rows that are read at once are those that are read one by one; a broken one is an error."""
    whole = [index for index, row in enumerate(found) if isinstance(row, dict)]
    for indices in (whole, whole[::-1], whole[1::3], whole[:1], []):
        for columns in (table.columns, table.columns[-1:]):
            cells = read_many(table, indices, columns)
            assert tuple(cells) == tuple(columns)
            for name in columns:
                wanted = [found[index][name] for index in indices]
                np.testing.assert_equal(cells[name], wanted)
                assert [type(x) for x in cells[name]] == [type(x) for x in wanted]
    if len(whole) < len(found):
        with pytest.raises(UserError, match="."):
            read_many(table, range(len(found)), table.columns)


def again(table):
    """What a worker process receives."""
    return pickle.loads(pickle.dumps(table))


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)
