import functools
import http.server
import json
import logging
import os
import threading

import numpy as np
import pytest

from mmjax.data.tables import files, parquet
from mmjax.data.tables.opening import open_table
from mmjax.errors import UserError
from tests.data.tables.files import again, rows, write_tar

pa = pytest.importorskip("pyarrow")
CSV = "a,b\n" + "".join(f"{i},{'x' * 50}\n" for i in range(3000))


def write_parquet(path, columns, **options):
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table(columns), path, **options)
    return str(path)


def test_parquet_rows_by_group_with_few_groups_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "KEPT_BYTES", 100)
    columns = {
        "n": list(range(20)),
        "x": [float("nan"), None, *map(float, range(18))],
        "list": [[i, i] for i in range(20)],
        "image": [{"bytes": b"png" if i else None, "path": f"{i}.png"} for i in range(20)],
    }
    table = open_table(write_parquet(tmp_path / "a.parquet", columns, row_group_size=4))
    for index in (19, 0, 7, 1, 7):
        row = table.read(index)
        assert row["n"] == index
        assert row["x"] == (None if index < 2 else index - 2)
        assert row["list"] == [index, index]
        assert row["image"] == (b"png" if index else "0.png")
    assert len(table._groups) <= 2
    assert rows(again(table)) == rows(table)
    assert table.where(3) == "a.parquet, row 4"


def test_a_parquet_file_that_is_cut_or_has_no_rows_is_one_line(tmp_path):
    path = tmp_path / "a.parquet"
    write_parquet(path, {"n": list(range(1000))})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"is no intact Parquet file .*restore the file"):
        open_table(str(path))
    with pytest.raises(UserError, match="has no rows"):
        open_table(write_parquet(path, {"n": pa.array([], pa.int64())}))


SAMPLES = {
    "a/000.jpg": b"\xff\xd8one",
    "a/000.txt": b"first \n",
    "a/000.json": json.dumps({"width": 3, "tags": ["x"]}).encode(),
    "a/001.jpg": b"\xff\xd8two",
    "a/001.txt": "zwölf".encode(),
    "b/000.seg.PNG": b"png",
}


def test_members_of_one_name_are_a_sample(tmp_path):
    table = open_table(write_tar(tmp_path / "s.tar", SAMPLES), cache=str(tmp_path))
    assert set(table.columns) == {
        *("__key__", "jpg", "txt", "seg.png", "json.width", "json.tags"),
    }
    first, second, third = rows(table)
    assert first["txt"] == "first"
    assert first["jpg"] == b"\xff\xd8one"
    assert (first["json.width"], first["json.tags"]) == (3, ["x"])
    assert (second["txt"], second["json.width"], second["seg.png"]) == ("zwölf", None, None)
    assert (third["__key__"], third["seg.png"], third["jpg"]) == ("b/000", b"png", None)
    assert table.where(1) == "s.tar, sample a/001"
    kept = open_table(str(tmp_path / "s.tar"), cache=str(tmp_path))
    assert rows(again(kept)) == [first, second, third]


def test_a_tar_cut_short_is_one_broken_row_and_the_samples_before_it_are_whole(tmp_path, caplog):
    path = tmp_path / "s.tar"
    write_tar(path, {f"{i:03}.bin": bytes([i]) * 1000 for i in range(10)})
    whole = path.read_bytes()
    for cut in (512 * 3 * 4 + 700, 512 * 3 * 4 + 100):  # in the data of a member, in its header
        path.write_bytes(whole[:cut])
        with caplog.at_level(logging.WARNING):
            found = rows(open_table(str(path)))
        assert [row["bin"] for row in found[:4]] == [bytes([i]) * 1000 for i in range(4)]
        assert len(found) == 5
        assert "is cut short here" in found[4]
        assert "is cut short or damaged after 4 samples" in caplog.text
        caplog.clear()
    damaged = bytearray(whole)
    damaged[512 * 3 * 4 : 512 * 3 * 4 + 512] = b"?" * 512
    path.write_bytes(damaged)
    assert [type(row) for row in rows(open_table(str(path)))] == [dict] * 4 + [str]
    path.write_bytes(whole[: 512 * 3 * 4])  # between two members: nothing says how many there were
    assert len(open_table(str(path))) == 4
    assert "has no end mark" in caplog.text


def test_shards_that_change_between_two_starts_are_indexed_anew(tmp_path):
    path, cache = tmp_path / "s.tar", str(tmp_path / "cache")
    write_tar(path, {"0.txt": b"a", "1.txt": b"b"})
    assert len(open_table(str(path), cache=cache)) == 2
    old = path.stat()
    write_tar(path, {"0.txt": b"c", "1.txt": b"d"})
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns + 1))
    assert [row["txt"] for row in rows(open_table(str(path), cache=cache))] == ["c", "d"]


def test_what_is_no_tar_or_has_no_samples_is_one_line(tmp_path):
    path = tmp_path / "s.tar"
    path.write_bytes(b"x" * 2000)
    with pytest.raises(UserError, match="is no tar file"):
        open_table(str(path))
    with pytest.raises(UserError, match="has no samples"):
        open_table(write_tar(path, {"README": b"no ending"}))


def test_several_files_are_one_table_in_their_order(tmp_path, caplog):
    for name, text in (("b-0.csv", "x,y\n3,c\n"), ("a-1.csv", "x\n2\n"), ("a-0.csv", "x\n0\n1\n")):
        (tmp_path / name).write_text(text)
    table = open_table([tmp_path / "a-{0..1}.csv", tmp_path / "b-*.csv"])
    assert [row["x"] for row in rows(table)] == list("0123")
    assert [row["y"] for row in rows(table)] == [None, None, None, "c"]
    assert [table.where(i) for i in (1, 2, 3)] == [
        *("a-0.csv, line 3", "a-1.csv, line 2", "b-0.csv, line 2"),
    ]
    assert "a-0.csv has no column y" in caplog.text
    assert rows(open_table(tmp_path / "?-*.csv")) == rows(table)
    assert rows(again(table)) == rows(table)


def test_files_that_are_not_there_are_one_line_with_the_nearest(tmp_path):
    (tmp_path / "train.csv").write_text("a\n1\n")
    with pytest.raises(UserError, match=r"no such file in .*did you mean 'train.csv'"):
        open_table(tmp_path / "trian.csv")
    with pytest.raises(UserError, match="no file matches this pattern"):
        open_table(tmp_path / "*.tar")
    with pytest.raises(UserError, match="and no folder"):
        open_table(tmp_path / "data" / "a.csv")
    with pytest.raises(UserError, match="no files are given"):
        open_table([])


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def test_files_in_another_filesystem(memory, tmp_path):
    memory.pipe("/data/a-0.csv", CSV.encode())
    memory.pipe("/data/a-1.csv", b"a,b\n-1,y\n")
    write_tar(tmp_path / "s.tar", SAMPLES)
    memory.pipe("/data/s.tar", (tmp_path / "s.tar").read_bytes())
    write_parquet(tmp_path / "p.parquet", {"n": list(range(9))}, row_group_size=2)
    memory.pipe("/data/p.parquet", (tmp_path / "p.parquet").read_bytes())
    table = open_table("memory://data/a-*.csv")
    assert len(table) == 3001
    assert table.read(2999)["a"] == "2999"
    assert table.read(3000) == {"a": "-1", "b": "y"}
    assert table.folder(0) == "memory:///data"
    assert [row["txt"] for row in rows(open_table("memory://data/s.tar"))][:1] == ["first"]
    assert [row["n"] for row in rows(open_table("memory://data/p.parquet"))] == list(range(9))
    with pytest.raises(UserError, match="cannot be read"):
        open_table("memory://data/none.csv")


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Answers requests for ranges, and counts bytes."""

    sent, ranges = 0, True

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.data())))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def data(self):
        with open(os.path.join(self.directory, self.path.strip("/")), "rb") as file:
            return file.read()

    def do_GET(self):
        data, asked = self.data(), self.headers.get("Range")
        start, stop = 0, len(data)
        if asked and type(self).ranges:
            start, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(start), min(int(last or stop) + 1, stop)
        self.send_response(206 if asked and type(self).ranges else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start:stop])
        type(self).sent += stop - start


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")

    class Handler(Ranges):
        sent = 0

    make = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", Handler
        running.shutdown()
        thread.join()


def test_a_row_of_a_remote_file_is_read_without_the_rest(server, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 2**12)
    address, handler = server
    (tmp_path / "a.csv").write_text(CSV)
    table = open_table(f"{address}/a.csv", cache=str(tmp_path))
    assert [table.read(i)["a"] for i in (0, 1500, 2999)] == ["0", "1500", "2999"]
    handler.sent = 0
    worker = again(open_table(f"{address}/a.csv", cache=str(tmp_path)))
    assert worker.read(1500)["a"] == "1500"
    assert worker.read(1501)["a"] == "1501"
    assert 0 < handler.sent < len(CSV)
    type.__setattr__(handler, "ranges", False)
    with pytest.raises(UserError, match="its server gives no ranges"):
        again(table).read(2000)


def test_rows_are_read_by_many_threads_at_once(tmp_path):
    import concurrent.futures

    paths = [write_parquet(tmp_path / "a.parquet", {"n": list(range(300))}, row_group_size=7)]
    (tmp_path / "a.csv").write_text("n\n" + "".join(f"{i}\n" for i in range(300)))
    paths.append(str(tmp_path / "a.csv"))
    for path in paths:
        table = open_table(path)
        order = np.random.default_rng(0).permutation(300).tolist()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda i, t=table: int(t.read(i)["n"]), order))
        assert found == order
