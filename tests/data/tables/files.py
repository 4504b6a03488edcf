"""What the tests of tables write and read."""

import io
import pickle
import tarfile

from mmjax.errors import UserError


def rows(table):
    """All rows; the line of the error for what is broken."""
    found = []
    for index in range(len(table)):
        try:
            found.append(table.read(index))
        except UserError as error:
            found.append(str(error))
    return found


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
