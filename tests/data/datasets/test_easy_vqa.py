import subprocess
import sys
import textwrap
from collections import Counter

import easy_vqa as package
import numpy as np
import PIL.Image
import pytest

from mmjax.data.datasets.easy_vqa.builder import EasyVqa, question_type
from mmjax.data.datasets.easy_vqa.sources import easy_vqa
from mmjax.data.readers.transforms import read_image
from mmjax.data.sources.source import max_questions


@pytest.fixture
def splits(built):
    return easy_vqa(dir=str(built), seed=0)


def test_images_come_in_the_size_asked_for(built):
    small = easy_vqa(dir=str(built), image_size=32)["test"].records[3]["image"]
    full = easy_vqa(dir=str(built))["test"].records[3]["image"]
    np.testing.assert_array_equal(small, read_image(full, 32))


def everything(source):
    records = (
        source.records.read(i, ("image_id", "questions")) for i in range(len(source.records))
    )
    for record in records:
        asked = record["questions"]
        for question, answer in zip(asked["question"], asked["answer"], strict=True):
            yield question, source.class_names[answer], record["image_id"]


def test_splits_hold_the_official_questions_and_share_no_image(splits):
    training = list(zip(*package.get_train_questions(), strict=True))
    assert [len(splits[split].records) for split in splits] == [3600, 400, 1000]
    assert Counter(everything(splits["train"])) == Counter(q for q in training if q[2] < 3600)
    assert Counter(everything(splits["validation"])) == Counter(q for q in training if q[2] >= 3600)
    assert Counter(everything(splits["test"])) == Counter(
        zip(*package.get_test_questions(), strict=True)
    )
    assert max_questions(splits["train"]) == 21


def test_images_are_those_of_the_package(splits):
    for split, paths in (
        ("validation", package.get_train_image_paths()),
        ("test", package.get_test_image_paths()),
    ):
        records = splits[split].records
        for index in range(0, len(records), 97):
            record = records[index]
            with PIL.Image.open(paths[record["image_id"]]) as image:
                np.testing.assert_array_equal(record["image"], np.asarray(image))
    assert splits["test"].records[0]["image"].dtype == np.uint8


def test_names_and_types(splits):
    source = splits["validation"]
    assert source.class_names == tuple(package.get_answers())
    assert source.slices == ("yes_no", "color", "shape")
    kinds = {"yes_no": {"yes", "no"}, "shape": {"circle", "rectangle", "triangle"}}
    for index in range(len(source.records)):
        asked = source.records.read(index, ("questions",))["questions"]
        for answer, kind in zip(asked["answer"], asked["type"], strict=True):
            slice_name, name = source.slices[kind], source.class_names[answer]
            expected = next((key for key, names in kinds.items() if name in names), "color")
            assert slice_name == expected


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("what color is the shape?", "color"),
        ("what is the color of the circle?", "color"),
        ("what is the teal shape?", "shape"),
        ("what shape is present?", "shape"),
        ("is there not a red shape?", "yes_no"),
    ],
)
def test_question_types(question, kind):
    assert question_type(question) == kind


def test_a_later_start_only_reads(built, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    monkeypatch.setattr(EasyVqa, "_split_generators", None)
    assert len(easy_vqa(dir=str(built))["test"].records) == 1000
    assert before == {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    assert not [path for path in before if "incomplete" in path.name]


def test_a_new_process_builds_reads_says_nothing_and_needs_no_tensorflow(tmp_path, environment):
    program = """
        import sys
        from mmjax.data.datasets.easy_vqa.sources import easy_vqa
        record = easy_vqa(dir=sys.argv[1])["train"].records[0]
        assert record["image"].shape == (64, 64, 3)
        assert "tensorflow" not in sys.modules and "torch" not in sys.modules
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
