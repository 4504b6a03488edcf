"""Draws what a trained model finds: for captions and for spoken words the five nearest pictures.

python experiments/transfer/picture.py RUNS/WAY-SEED OUT.png [--stamps=DIR] [--rows=4]

The pictures are Tux Paint's (GPL-2), so OUT.png stays where you draw it.
"""

import argparse
import textwrap
from pathlib import Path

import matplotlib
import numpy as np

import mmjax
from mmjax import factory
from mmjax.inference import loading

FOUND = 5


def draw(axes, image, title: str, right: bool) -> None:
    """One picture in its frame: green if it is right."""
    axes.imshow(image)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=8)
    for side in axes.spines.values():
        side.set_color("tab:green" if right else "lightgrey")
        side.set_linewidth(4 if right else 1)


def main() -> None:
    """Embeds the test split and draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stamps", default="")
    parser.add_argument("--rows", type=int, default=4)
    arguments = parser.parse_args()
    matplotlib.use("Agg")
    from matplotlib import pyplot

    config = loading.read_config(arguments.run)
    config.data.options.stamps = arguments.stamps
    test = factory.sources(config)["test"]
    model = mmjax.load(arguments.run)
    pictures = list(test.values["image"])
    speech = [
        np.where(mask, clip, 0).astype(np.float32)
        for clip, mask in zip(test.values["speech"], test.masks["speech"], strict=True)
    ]
    found = model.embed(image=pictures)["image"]
    mixed = np.random.default_rng(0).permutation(len(test))
    _, firsts = np.unique(test.index["text"][mixed], return_index=True)
    chosen = mixed[np.sort(firsts)[: arguments.rows]]  # of different captions
    captions = [test.texts["text"][test.index["text"][i]] for i in chosen]
    queries = {
        "written": model.embed(text=captions)["text"],
        "spoken": model.embed(speech=[speech[i] for i in chosen])["speech"],
    }
    shape = (2 * arguments.rows, FOUND + 1)
    size = (1.5 * shape[1] + 2.5, 1.6 * shape[0])
    figure, grid = pyplot.subplots(*shape, figsize=size, layout="constrained")
    for row in range(arguments.rows):
        same = test.index["text"] == test.index["text"][chosen[row]]
        targets = np.unique(test.index["image"][same])
        for way, (kind, rows) in enumerate(queries.items()):
            order = np.argsort(-(found @ rows[row]))
            line = grid[2 * row + way]
            rank = 1 + int(np.flatnonzero(np.isin(order, targets))[0])
            words = textwrap.fill(captions[row], 24)
            line[0].axis("off")
            line[0].text(0.0, 0.5, f"{kind}:\n{words}\n(rank {rank})", fontsize=9, va="center")
            for axes, place in zip(line[1:], order, strict=False):
                cosine = f"{float(found[place] @ rows[row]):.2f}"
                draw(axes, pictures[place], cosine, place in targets)
    figure.savefig(arguments.out, dpi=90)


if __name__ == "__main__":
    main()
