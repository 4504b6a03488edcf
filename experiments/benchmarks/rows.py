"""A million rows: start-up, memory and examples a second of pipelines that read the same files.

PYTHONPATH=. python experiments/benchmarks/rows.py DIR [--rows=1000000] [--examples=20000]

DIR gets rows.csv, records/ (ArrayRecord, by `mmjax-prepare`) and rows-*.tar (WebDataset), the
same rows in each: a text of eight words, four numbers, a category and a label. Every pipeline is a
process of its own that may use one core, and makes shuffled batches of 64 of the ids of the text,
the five features and the label. Peers: a torch DataLoader over a table that pandas holds, plain
Grain over the records, and WebDataset over the shards, which shuffles within 1000 rows.
"""

import csv
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

ROWS = flags.DEFINE_integer("rows", 1_000_000, "Rows of the files.")
EXAMPLES = flags.DEFINE_integer("examples", 20_000, "Examples that are timed.")
ONLY = flags.DEFINE_string("only", "", "Measure this pipeline in this process.")
BATCH, LENGTH, SHARDS = 64, 10, 10
COLORS = ("red", "green", "blue", "grey")
WORDS = ("a", "the", "small", "large", "round", "box", "ball", "tree", "house", "near", "on", "and")


def rows(count: int) -> Iterator[dict[str, Any]]:
    """The rows, the same ones each time."""
    rng = np.random.default_rng(0)
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        words = rng.integers(len(WORDS), size=(size, 8))
        numbers = rng.normal(size=(size, 4)).round(4)
        color, label = rng.integers(len(COLORS), size=size), rng.integers(3, size=size)
        for i in range(size):
            yield {
                "note": " ".join(WORDS[w] for w in words[i]),
                **{f"x{j}": float(numbers[i, j]) for j in range(4)},
                "color": COLORS[color[i]],
                "label": "abc"[label[i]],
            }


def make(folder: Path, count: int) -> None:
    """Writes the files that are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "rows.csv").exists():
        with (folder / "rows.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, next(rows(1)))
            writer.writeheader()
            writer.writerows(rows(count))
    if not (folder / "records").exists():
        prepare = [sys.executable, "-m", "mmjax.prepare", folder / "rows.csv", folder / "records"]
        subprocess.run(prepare, check=True)
    if not (folder / "rows-0.tar").exists():
        found = rows(count)
        for shard in range(SHARDS):
            with tarfile.open(folder / f"rows-{shard}.tar", "w") as tar:
                for i in range(shard, count, SHARDS):
                    content = json.dumps(next(found)).encode()
                    about = tarfile.TarInfo(f"{i:07d}.json")
                    about.size = len(content)
                    tar.addfile(about, io.BytesIO(content))


def ours(files: Any, target: str = "label") -> Callable[[Path, Path], Iterator[Any]]:
    """The pipeline of `mmjax --config=own`."""

    def start(folder: Path, scratch: Path) -> Iterator[Any]:
        from mmjax import cli, factory

        config = cli.load_config("own")
        config.data.files = files(folder)
        config.data.dir = str(scratch)
        config.data.target = target
        config.data.batch_size = BATCH
        config.data.text_length = LENGTH
        config.train.minutes = 0.0
        chosen, splits = factory.filled(config)
        _, experiment = factory.experiment(
            factory.checked(chosen), str(scratch / f"run-{time.time_ns()}"), data=splits
        )
        return experiment.train_data()

    return start


def arrays() -> Callable[[dict[str, Any]], tuple[np.ndarray, np.ndarray, int]]:
    """Cells -> ids, features and label, for the peers."""
    from mmjax.data.pipeline import tokenizer

    words = tokenizer.train([" ".join(WORDS)] * 2)

    def of(row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, int]:
        ids, _ = tokenizer.encode(words, [row["note"]], length=LENGTH)
        numbers = [float(row[f"x{j}"]) for j in range(4)]
        vector = np.array([*numbers, *(row["color"] == c for c in COLORS)], np.float32)
        return ids[0], vector, "abc".index(row["label"])

    return of


def torch_loader(folder: Path, scratch: Path) -> Iterator[Any]:
    """A map-style data set over a data frame in memory."""
    del scratch
    import pandas
    import torch

    table, of = pandas.read_csv(folder / "rows.csv"), arrays()
    columns = list(table.columns)

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(table)

        def __getitem__(self, index: int) -> Any:
            return of(dict(zip(columns, table.iloc[index].tolist(), strict=True)))

    torch.set_num_threads(1)
    return iter(torch.utils.data.DataLoader(Rows(), batch_size=BATCH, shuffle=True))


def plain_grain(folder: Path, scratch: Path) -> Iterator[Any]:
    """Grain's own source of ArrayRecord files, and a function for each record."""
    del scratch
    import grain

    from mmjax.data.tables.records import decode

    of = arrays()
    shards = [str(path) for path in sorted((folder / "records").glob("*.array_record"))]
    found = grain.MapDataset.source(grain.sources.ArrayRecordDataSource(shards)).shuffle(0)
    read = found.map(lambda record: of(decode(record)[0])).batch(BATCH)
    return iter(read.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def web_dataset(folder: Path, scratch: Path) -> Iterator[Any]:
    """One pass over the shards, shuffled in a buffer."""
    del scratch
    import webdataset

    of = arrays()
    shards = sorted(str(path) for path in folder.glob("rows-*.tar"))
    found = webdataset.WebDataset(shards, shardshuffle=SHARDS).shuffle(1000).decode()
    return iter(found.map(lambda row: of(row["json"])).batched(BATCH))


PIPELINES = {
    "mmjax, CSV": ours(lambda folder: str(folder / "rows.csv")),
    "mmjax, ArrayRecord": ours(lambda folder: str(folder / "records")),
    "mmjax, tar": ours(lambda folder: str(folder / "rows-*.tar"), "json.label"),
    "torch DataLoader, pandas": torch_loader,
    "Grain, ArrayRecord": plain_grain,
    "WebDataset, tar": web_dataset,
}


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Start-up in seconds, the first and a second time; memory in MB; and examples a second."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    found: dict[str, Any] = {"name": name}
    import jax  # noqa: F401 - what every program here has loaded is not counted

    arrays()
    before = memory()
    with tempfile.TemporaryDirectory() as scratch:
        for key in ("start", "start again"):
            began = time.perf_counter()
            batches = PIPELINES[name](folder, Path(scratch))
            next(batches)
            found[key] = time.perf_counter() - began
            found.setdefault("MB", (memory() - before) / 1e6)
        for _ in range(20):
            next(batches)
        began = time.perf_counter()
        for _ in range(EXAMPLES.value // BATCH):
            next(batches)
        found["examples/s"] = EXAMPLES.value // BATCH * BATCH / (time.perf_counter() - began)
        found["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        if hasattr(batches, "close"):
            batches.close()
    return found


def memory() -> int:
    """The resident memory of this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main(argv: list[str]) -> None:
    """Makes the files, and measures each pipeline in a process of its own."""
    folder = Path(argv[1])
    if ONLY.value:
        print(json.dumps(measure(ONLY.value, folder)))
        return
    make(folder, ROWS.value)
    print(
        "| pipeline | first start | next start | memory | peak | examples/s |\n" + "|---" * 6 + "|"
    )
    for name in PIPELINES:
        out = subprocess.run(
            [sys.executable, *argv[:2], f"--only={name}", f"--examples={EXAMPLES.value}"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        row = json.loads(out.strip().splitlines()[-1])
        times = f"{row['start']:.1f} s | {row['start again']:.1f} s"
        sizes = f"{row['MB']:.0f} MB | {row['peak MB']:.0f} MB"
        print(f"| {name} | {times} | {sizes} | {row['examples/s']:,.0f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
