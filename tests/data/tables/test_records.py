import json

import numpy as np
import pytest

from mmjax.data.tables import records
from mmjax.data.tables.opening import open_table
from mmjax.errors import UserError
from tests.data.tables.files import again, rows

ROW = {
    "image": b"\x89PNG",
    "text": "zwölf",
    "empty": None,
    "list": [1, [2, 3]],
    "array": np.arange(6, dtype=np.int16).reshape(2, 3),
    "none": b"",
}


def write(path, all_rows, columns=tuple(ROW)):
    module = pytest.importorskip("array_record.python.array_record_module")
    writer = module.ArrayRecordWriter(str(path), "group_size:1")
    for number, row in enumerate(all_rows):
        writer.write(records.encode(row, f"a.csv, line {number + 2}"))
    writer.close()
    (path.parent / records.ABOUT).write_text(json.dumps({"columns": columns}))


def same(row):
    return row | {"array": row["array"].tolist(), "dtype": str(row["array"].dtype)}


def test_what_is_written_is_read(tmp_path):
    assert records.decode(records.encode(ROW, "here"))[1] == "here"
    write(tmp_path / "rows-0.array_record", [ROW, ROW | {"text": "b"}])
    table = open_table(tmp_path)
    assert same(table.read(0)) == same(ROW)
    assert again(table).read(1, ["text"]) == {"text": "b"}
    assert table.where(1) == "rows-0.array_record, record 1"


def test_few_records_are_in_memory_at_once(tmp_path, monkeypatch):
    write(tmp_path / "rows-0.array_record", [ROW | {"text": str(i)} for i in range(7)])
    monkeypatch.setattr(records, "AT_ONCE", 2)
    table = open_table(tmp_path)
    assert [row["text"] for row in rows(table)] == list("0123456")
    read, asked = records.decode, []
    monkeypatch.setattr(records, "decode", lambda record: asked.append(1) or read(record))
    assert table.read_many([5, 0, 6], ["text"]) == {"text": ["5", "0", "6"]}
    assert len(asked) == 3


def test_records_that_are_damaged_or_not_whole_are_one_line(tmp_path):
    path = tmp_path / "rows-0.array_record"
    write(path, [ROW | {"none": bytes(range(256)) * 2}] * 50)
    data = path.read_bytes()
    (tmp_path / records.ABOUT).unlink()
    with pytest.raises(UserError, match=r"has no table.json: it is not whole"):
        open_table(tmp_path)
    (tmp_path / records.ABOUT).write_text("{}")
    with pytest.raises(UserError, match=r"table.json is damaged"):
        open_table(tmp_path)
    (tmp_path / records.ABOUT).write_text(json.dumps({"columns": list(ROW)}))
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="prepare the rows again"):
        open_table(tmp_path)
    middle = bytearray(data)
    middle[len(data) // 10 : len(data) // 10 + 40] = b"\0" * 40
    path.write_bytes(middle)
    found = rows(open_table(tmp_path))
    broken = [row for row in found if isinstance(row, str)]
    assert 1 <= len(broken) <= 3
    assert "cannot be read" in broken[0]


def test_a_record_that_is_cut_is_no_row():
    with pytest.raises(ValueError, match="cut short"):
        records.decode(records.encode({"a": b"12345"}, "")[:-2])


def test_a_table_has_another_fingerprint_when_its_rows_change():
    def of(values, **more):
        return records.fingerprint(open_table({"x": values, **more}))

    assert of([1, 2, 3]) == of([1, 2, 3])
    others = [of([1, 2, 4]), of([1, 2]), of([1, 2, 3], y=[b"a", {"b": b"c"}, None])]
    assert len({of([1, 2, 3]), *others}) == 4
