import numpy as np
import PIL.Image

from mmjax.train import report


def test_both_pictures_are_drawn(tmp_path):
    records = [
        {"step": 1, "train/loss": 1.0, "train/accuracy": 0.0},
        {"step": 2, "train/loss": 0.1, "train/accuracy": 0.5, "val/accuracy": 0.4},
    ]
    report.plot_curves(records, ["loss", "accuracy"], tmp_path / "curves.png")
    labels = np.array([0, 1, 2, 2])
    report.plot_confusion(
        labels, np.array([0, 1, 2, 0]), ["a", "b", "c"], tmp_path / "confusion.png"
    )
    for name in ("curves.png", "confusion.png"):
        pixels = np.asarray(PIL.Image.open(tmp_path / name))
        assert min(pixels.shape[:2]) > 300
        assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 10


def test_a_class_that_never_occurs_and_an_empty_log_are_no_error(tmp_path):
    report.plot_confusion(np.array([0]), np.array([0]), ["a", "b"], tmp_path / "confusion.png")
    report.plot_curves([], ["loss"], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").exists()
