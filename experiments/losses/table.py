"""The table and the pictures of this study, from the workdirs of its runs.

python experiments/losses/table.py RUNS [--stamps=DIR] [--times]   (RUNS as run.py makes them)

--times measures milliseconds a step: all losses in turns, so that they share what else the machine
does. Without it the column is left out.
"""

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from run import BESIDE, CONTRASTIVE, LOSSES, PAIRED, configure
from sklearn.cross_decomposition import CCA, PLSCanonical
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer

import mmjax
from mmjax import factory
from mmjax.metrics import representation, retrieval
from mmjax.train.reporting.writers import read_metrics
from mmjax.train.run import Run

NAMES = ("image", "text")
COLUMNS = {
    "R@1, image to text": "recall_at_1/image_to_text",
    "R@10, image to text": "recall_at_10/image_to_text",
    "R@1, text to image": "recall_at_1/text_to_image",
    "R@10, text to image": "recall_at_10/text_to_image",
    "median rank": "median_rank",
    "alignment": "alignment",
    "uniformity, image": "uniformity/image",
    "uniformity, text": "uniformity/text",
    "modality gap": "modality_gap",
}
KINDS = dict.fromkeys(LOSSES, "sets only") | dict.fromkeys(CONTRASTIVE, "contrastive")
KINDS |= dict.fromkeys(PAIRED, "paired") | dict.fromkeys(BESIDE, "beside info_nce")
SHARES = [name for name in COLUMNS if name.startswith("R@")]
ROUNDS, STEPS = 9, 4  # of the times
DRAWS = 50  # of embeddings at random
JUDGED = 16  # of the nearest of each query are ranked again by a head that matches


def read(root: Path) -> dict[str, dict[str, list[float]]]:
    """By loss and column the test result of each seed."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for loss in LOSSES:
        for directory in sorted(root.glob(f"{loss}-[0-9]*")):
            records = read_metrics(directory)
            if records and "test/recall_at_1" in records[-1]:
                for column, name in COLUMNS.items():
                    found[loss][column].append(records[-1][f"test/{name}"])
    return found


def judge(a: np.ndarray, b: np.ndarray, test) -> dict[str, float]:
    """The columns for embeddings of all examples of a split."""
    ids = [test.ids[name][test.index[name]] for name in NAMES]
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    found = retrieval.retrieval(a, b, a_id=ids[0], b_id=ids[1], names=NAMES)
    found |= {
        "alignment": representation.alignment(a, b),
        "uniformity/image": representation.uniformity(a),
        "uniformity/text": representation.uniformity(b),
        "modality_gap": representation.modality_gap(a, b),
    }
    return {column: float(found[name]) for column, name in COLUMNS.items()}


def baselines(splits) -> dict[str, dict[str, list[float]]]:
    """Embeddings at random, and a linear method on pixels and word counts (scikit-learn)."""
    train, test = splits["train"], splits["test"]
    rows = [
        judge(*np.random.default_rng(s).normal(size=(2, len(test), 64)), test) for s in range(DRAWS)
    ]
    found = {"*at random*": {column: [row[column] for row in rows] for column in COLUMNS}}

    counts = CountVectorizer(binary=True).fit(inputs(train)["text"])

    def plain(split) -> list[np.ndarray]:
        given = inputs(split)
        pixels = np.stack(given["image"]).reshape(len(split), -1) / 255
        return [pixels, counts.transform(given["text"]).toarray()]

    parts = [PCA(64, random_state=0).fit(x) for x in plain(train)]

    def features(split) -> list[np.ndarray]:
        return [part.transform(x) for part, x in zip(parts, plain(split), strict=True)]

    linear = PLSCanonical(16).fit(*features(train))
    row = judge(*linear.transform(*features(test)), test)
    return found | {"*linear (PLS)*": {column: [value] for column, value in row.items()}}


def after_cca(root: Path, splits) -> dict[str, list[float]]:
    """Canonical correlations are of any linear maps: the maps are fitted to the training split."""
    found = defaultdict(list)
    for directory in sorted(root.glob("cca-[0-9]*")):
        model = mmjax.load(directory)
        train, test = (model.embed(**inputs(splits[name])) for name in ("train", "test"))
        linear = CCA(16, max_iter=2000).fit(*(train[name] for name in NAMES))
        row = judge(*linear.transform(*(test[name] for name in NAMES)), splits["test"])
        for column, value in row.items():
            found[column].append(value)
    return found


def after_matching(root: Path, splits) -> dict[str, list[float]]:
    """What ranks first by cosine is ranked again by the head that saw both, in each direction."""
    found = defaultdict(list)
    for directory in sorted(root.glob("matching-[0-9]*")):
        model, test = mmjax.load(directory, batch_size=512), splits["test"]
        given, count = inputs(test), len(test)
        embedded = model.embed(**given)
        row = judge(*(embedded[name] for name in NAMES), test)
        cosines = embedded["image"] @ embedded["text"].T
        first, second = (index.ravel().tolist() for index in np.indices((count, count)))
        matches = model.match(
            image=[given["image"][i] for i in first], text=[given["text"][i] for i in second]
        ).reshape(count, count)
        ids = dict(zip(("a_id", "b_id"), (test.ids[n][test.index[n]] for n in NAMES), strict=True))
        medians = []
        for direction, axis in (("image_to_text", 1), ("text_to_image", 0)):
            place = np.argsort(np.argsort(-cosines, axis=axis), axis=axis)
            # Any match that is judged at all ranks before any that is not.
            scores = np.where(place < JUDGED, 2 + matches, cosines)
            again = retrieval.retrieval(scores, np.eye(count), names=NAMES, **ids)
            medians.append(again[f"median_rank/{direction}"])
            row |= {
                column: again[name] for column, name in COLUMNS.items() if name.endswith(direction)
            }
        for column, value in {**row, "median rank": float(np.mean(medians))}.items():
            found[column].append(value)
    return found


def inputs(split) -> dict[str, list]:
    """What a predictor takes, an entry for each example."""
    return {
        "image": list(split.values["image"][split.index["image"]]),
        "text": [split.texts["text"][row] for row in split.index["text"]],
    }


def times(stamps: str) -> dict[str, float]:
    """Milliseconds a training step, the median of rounds over all losses."""
    steps, seconds = {}, defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        for loss in LOSSES:
            path, experiment = factory.experiment(
                configure(loss, 0, stamps), str(Path(directory, loss))
            )
            run = Run(experiment, path, Console())
            steps[loss] = (run.train_step, run.create(), run.put(next(experiment.train_data())))
        for measured in [False] + [True] * ROUNDS:
            for loss, (step, state, batch) in steps.items():
                begun = time.perf_counter()
                for _ in range(STEPS):
                    state, _ = step(state, batch)
                jax.block_until_ready(state)
                steps[loss] = (step, state, batch)
                if measured:
                    seconds[loss].append((time.perf_counter() - begun) / STEPS)
    return {loss: 1000 * float(np.median(values)) for loss, values in seconds.items()}


def cell(column: str, values: list[float]) -> str:
    """Mean and standard deviation over the seeds; shares in percent."""
    scale, digits = (100, 1) if column in SHARES else (1, 2)
    mean = f"{scale * np.mean(values):.{digits}f}"
    return f"{mean} ± {scale * np.std(values):.{digits}f}" if len(values) > 1 else mean


def markdown(found: dict, milliseconds: dict[str, float]) -> str:
    """A row for each baseline and loss."""
    titles = [*COLUMNS, *(["ms a step"] if milliseconds else [])]
    lines = [f"| loss | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for loss, columns in found.items():
        cells = [cell(column, columns[column]) for column in COLUMNS]
        if milliseconds:
            cells.append(f"{milliseconds[loss]:.1f}" if loss in milliseconds else "")
        name = f"`{loss}`" if loss in LOSSES else loss
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot_spaces(root: Path, test, found: dict, path: Path) -> None:
    """The test embeddings of both modalities in their first two principal components, per loss."""
    losses = [loss for loss in LOSSES if loss in found]
    columns = 5
    rows = -(-len(losses) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.9 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes in grid:
        axes.set_axis_off()
    for axes, loss in zip(figure.axes, losses, strict=False):
        embedded = mmjax.load(root / f"{loss}-0").embed(**inputs(test))
        both = np.concatenate([embedded[name] for name in NAMES])
        flat = PCA(2, random_state=0).fit_transform(both)
        image, text = np.split(flat, 2)
        axes.plot(*np.stack([image, text], axis=1).transpose(2, 1, 0), color="0.8", linewidth=0.5)
        axes.scatter(*image.T, s=9, color="tab:blue", label="image")
        axes.scatter(*text.T, s=9, color="tab:orange", label="caption")
        recall = [np.mean(found[loss][column]) for column in SHARES if "10" in column]
        axes.set_title(f"{loss}\n{KINDS[loss]}, R@10 {100 * np.mean(recall):.0f} %", fontsize=9)
    figure.axes[0].legend(fontsize=7, loc="best")
    title = "Pictures and captions of the test set, a line between those that belong together"
    figure.suptitle(f"{title} (first two principal components, seed 0)", fontsize=11)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Prints the table and draws the picture beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--stamps", default="")
    parser.add_argument("--times", action="store_true")
    arguments = parser.parse_args()
    found = read(arguments.runs)
    if not found:
        sys.exit(f"{arguments.runs}: no finished runs; make them with experiments/losses/run.py")
    splits = factory.sources(configure("info_nce", 0, arguments.stamps))
    found = baselines(splits) | found
    if "cca" in found:
        found["`cca`, then linear CCA"] = after_cca(arguments.runs, splits)
    if "matching" in found:
        found[f"`matching`, the first {JUDGED} again"] = after_matching(arguments.runs, splits)
    print(markdown(found, times(arguments.stamps) if arguments.times else {}))
    path = Path(__file__).parent / "spaces.png"
    plot_spaces(arguments.runs, splits["test"], found, path)


if __name__ == "__main__":
    main()
