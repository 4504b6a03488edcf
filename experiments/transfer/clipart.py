"""Draws what a trained model finds among pictures that it never saw, for written and spoken words.

python experiments/transfer/clipart.py RUNS/WAY-SEED OUT.png --clipart=DIR [--stamps=DIR]

DIR holds openclipart's pictures, which are in the public domain:

apt-get download openclipart-png && dpkg-deb -x openclipart-png_*.deb DIR
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import mmjax
from mmjax import factory
from mmjax.inference import loading

FOLDERS = ("animals", "buildings", "food", "plants", "transportation")
WRITTEN = ("a fish", "a bird", "a red apple", "a car", "a house", "a flower")
# Captions of stamps of the test split, by whose French clips is searched.
SPOKEN = ("A fire truck.", "A bluebird.", "A bunch of grapes.")
FOUND = 7
LARGEST, SIDE = 2**22, 256  # pixels: larger files are left out, smaller ones shrunk


def on_white(path: Path) -> Image.Image | None:
    """A picture without its transparency; None of a huge one."""
    with Image.open(path) as file:
        if file.width * file.height > LARGEST:
            return None
        file.thumbnail((SIDE, SIDE))
        picture = file.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def clips(config, captions: tuple[str, ...]) -> list[np.ndarray]:
    """The speech of the first example of the test split with each caption."""
    test = factory.sources(config)["test"]
    texts = [test.texts["text"][row] for row in test.index["text"]]
    rows = [texts.index(caption) for caption in captions]
    return [
        np.where(test.masks["speech"][row], test.values["speech"][row], 0).astype(np.float32)
        for row in rows
    ]


def main() -> None:
    """Embeds all pictures and the words, and draws the nearest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clipart", type=Path, required=True)
    parser.add_argument("--stamps", default="")
    arguments = parser.parse_args()
    config = loading.read_config(arguments.run)
    config.data.options.stamps = arguments.stamps
    model = mmjax.load(arguments.run)
    root = arguments.clipart / "usr" / "share" / "openclipart" / "png"
    paths = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.png"))
    Image.MAX_IMAGE_PIXELS = None
    drawn = [picture for path in paths if (picture := on_white(path)) is not None]
    pictures = list({picture.tobytes(): picture for picture in drawn}.values())
    found = model.embed(image=pictures)["image"]
    queries = [
        *zip(WRITTEN, model.embed(text=list(WRITTEN))["text"], strict=True),
        *zip(
            (f"spoken in French:\n{textwrap.fill(caption, 20)}" for caption in SPOKEN),
            model.embed(speech=clips(config, SPOKEN))["speech"],
            strict=True,
        ),
    ]
    size = (1.3 * FOUND + 2.2, 1.3 * len(queries) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(queries), FOUND + 1)
    for line, (words, query) in zip(grid, queries, strict=True):
        for axes in line:
            axes.axis("off")
        line[0].text(0, 0.5, words, fontsize=11, va="center", transform=line[0].transAxes)
        for axes, place in zip(line[1:], np.argsort(-(found @ query)), strict=False):
            axes.imshow(pictures[place])
    figure.suptitle(f"The nearest of {len(pictures):,} pictures that the model has never seen")
    figure.set_dpi(72)
    figure.canvas.draw()
    drawn = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    drawn.quantize(96).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
