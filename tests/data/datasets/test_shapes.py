import re

import easy_vqa as package
import numpy as np
import pytest

from mmjax.data.datasets.shapes import COLORS, SHAPES, Drawing, draw, shapes


def test_records_are_a_function_of_seed_split_and_index():
    first, again = shapes(seed=3), shapes(seed=3, cache=False)
    for split in ("train", "validation", "test"):
        for index in (7, 0):
            one, other = first[split].records[index], again[split].records[index]
            np.testing.assert_array_equal(one["image"], other["image"])
            assert one["questions"]["question"] == other["questions"]["question"]
    images = [source.records[0]["image"].tobytes() for source in first.values()]
    images += [shapes(seed=4)["train"].records[0]["image"].tobytes()]
    assert len(set(images)) == 4


@pytest.mark.parametrize("size", [32, 64, 17])
def test_images_have_the_size_asked_for(size):
    source = shapes(image_size=size, train=2)["train"]
    assert len(source.records) == 2
    image = source.records[1]["image"]
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8


def test_areas_are_those_of_geometry():
    left, top, right, bottom = corners = (0.25, 0.25, 0.75, 0.75)
    box = (right - left) * (bottom - top)
    share = {"circle": np.pi / 4, "rectangle": 1.0, "triangle": 0.5}
    for shape in SHAPES:
        image = draw(Drawing(shape, "black", corners, (255, 255, 255)), 64)
        area = 1 - image.mean() / 255
        assert area == pytest.approx(box * share[shape], rel=0.04), shape


def test_every_color_is_on_its_image():
    for color, rgb in COLORS.items():
        image = draw(Drawing("circle", color, (0.2, 0.2, 0.8, 0.8), (240, 240, 240)), 32)
        assert tuple(image[16, 16]) == rgb
        assert tuple(image[0, 0]) == (240, 240, 240)


def test_answers_are_true():
    source = shapes(train=200)["train"]
    for index in range(200):
        drawing = source.records._fields["image"]._items._raw[index]["image"]
        asked = source.records[index]["questions"]
        words = {drawing.shape, drawing.color}
        rows = zip(asked["question"], asked["answer"], asked["type"], strict=True)
        for question, answer, kind in rows:
            mentioned = set(re.findall(r"\w+", question)) & {*SHAPES, *COLORS}
            denied = bool(re.search(r"\b(not|no)\b", question))
            truth = {
                "color": drawing.color,
                "shape": drawing.shape,
                "yes_no": ("no", "yes")[(mentioned <= words) != denied],
            }
            assert source.class_names[answer] == truth[source.slices[kind]], question


def test_the_form_is_that_of_easy_vqa():
    source = shapes(train=1500)["train"]
    asked = [source.records[i]["questions"] for i in range(1500)]
    counts = np.array([len(record["question"]) for record in asked])
    assert counts.min() >= 1
    assert counts.mean() == pytest.approx(9.6, abs=0.3)
    kinds = np.concatenate([record["type"] for record in asked])
    assert (kinds == 0).mean() == pytest.approx(0.736, abs=0.02)  # 28,407 of 38,575 there
    assert len(set(sum((record["question"] for record in asked), ()))) == 107
    assert all(len(set(record["question"])) == len(record["question"]) for record in asked)
    assert sorted(source.class_names) == sorted(package.get_answers())
    assert {q for record in asked for q in record["question"]} == set(
        package.get_train_questions()[0]
    )
