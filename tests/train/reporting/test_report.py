import numpy as np
import PIL.Image

from mmjax.tasks.figures import confusion, scatter
from mmjax.train.reporting import report


def test_all_pictures_are_drawn(tmp_path):
    records = [
        {"step": 1, "train/loss": 2.0, "train/accuracy": 0.0, "val/loss": 3.0},
        {"step": 2, "train/loss": 0.1, "train/accuracy": 0.5, "val/accuracy": 0.4},
        {"step": 2, "val/accuracy/slice": 0.4, "val/f1/macro": 0.4, "val/loss": 1.0},
    ]
    report.plot_curves(records, tmp_path / "curves.png")
    labels = np.array([0, 1, 2, 2])
    report.save(confusion(labels, np.array([0, 1, 2, 0]), "abc"), tmp_path / "confusion.png")
    numbers = np.array([0.5, 1.0, 3.0])
    report.save(scatter(numbers, numbers + 0.1), tmp_path / "scatter.png")
    for name in ("curves.png", "confusion.png", "scatter.png"):
        pixels = np.asarray(PIL.Image.open(tmp_path / name))
        assert min(pixels.shape[:2]) > 300
        assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 10


def test_a_class_that_never_occurs_and_an_empty_log_are_no_error(tmp_path):
    report.save(confusion(np.array([0]), np.array([0]), "ab"), tmp_path / "confusion.png")
    report.save(scatter(np.zeros(0), np.zeros(0)), tmp_path / "scatter.png")
    report.plot_curves([], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").exists()
