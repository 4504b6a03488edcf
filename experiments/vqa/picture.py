"""Draws docs/answers.png: test images, questions, and what a model answers.

python experiments/vqa/picture.py runs/vqa docs/answers.png
"""

import sys

import easy_vqa
from matplotlib.figure import Figure
from PIL import Image

import mmjax

COLUMNS, ANSWERS = 4, 3


def main(workdir: str, file: str) -> None:
    """Draws the first images whose questions and answers are all different."""
    model = mmjax.load(workdir)
    questions, _, images = easy_vqa.get_test_questions()
    paths, starts, used, chosen = easy_vqa.get_test_image_paths(), set(), set(), []
    for question, image in zip(questions, images, strict=True):
        start = " ".join(question.split()[:2])
        if start not in starts and image not in used and len(chosen) < COLUMNS:
            chosen.append((question, paths[image]))
            starts.add(start)
            used.add(image)
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    grid = figure.subplots(2, COLUMNS, height_ratios=(2, 1))
    for (question, path), (top, bottom) in zip(chosen, grid.T, strict=True):
        top.imshow(Image.open(path))
        top.set_title(question, fontsize=9)
        top.axis("off")
        found = model(image=str(path), text=question)[:ANSWERS][::-1]
        names, values = [f["answer"] for f in found], [f["probability"] for f in found]
        bars = bottom.barh(names, values, color="tab:blue")
        bottom.bar_label(bars, [f"{value:.3f}" for value in values], padding=3, fontsize=8)
        bottom.set_xlim(0, 1.25)
        bottom.tick_params(labelsize=8)
        bottom.set_xticks([])
        bottom.spines[["top", "right", "bottom"]].set_visible(False)
    figure.savefig(file, dpi=90)


if __name__ == "__main__":
    main(*sys.argv[1:])
