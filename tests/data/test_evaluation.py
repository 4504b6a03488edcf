import itertools
from collections import Counter

import pytest

from mmjax.errors import UserError
from tests.data.fakes import encoder, evaluation, every_label, images, labels, make, take, training


@pytest.mark.parametrize("questions_per_image", [0, 1, 2, 5, 7])
@pytest.mark.parametrize("process_count", [1, 3])
def test_evaluation_asks_every_question_once(questions_per_image, process_count):
    parts = [
        evaluation(
            questions_per_image=questions_per_image, process_index=p, process_count=process_count
        )
        for p in range(process_count)
    ]
    assert sorted(itertools.chain.from_iterable(map(labels, parts))) == every_label()
    assert len({len(part) for part in parts}) == 1
    shapes = {
        tuple((key, value.shape) for key, value in batch.items())
        for part in parts
        for batch in part
    }
    assert len(shapes) == 1
    if process_count == 1:
        assert labels(parts[0]) == every_label()
        assert labels(parts[0]) == every_label()  # and again from the start


def test_evaluation_pads_with_blank_rows():
    last = list(evaluation(questions_per_image=5))[-1]
    empty = ~last["image_mask"]
    assert empty.sum() == 1
    assert not last["image"][empty].any()
    assert not last["_mask"].reshape(4, 5)[empty].any()


@pytest.mark.parametrize("modalities", [("image",), ("text",), ("text", "image")])
def test_only_the_modalities_asked_for_are_there(modalities):
    encode = {"text": encoder()} if "text" in modalities else {}
    for batches in (training, evaluation):
        batch = next(iter(batches(modalities=modalities, encode=encode)))
        assert {key.partition("_")[0] for key in batch} - {"targets/label", "slice", ""} == set(
            modalities
        )


def test_text_alone_decodes_no_image():
    unreadable = make(length=23, broken=range(23))
    assert labels(evaluation(unreadable, modalities=("text",))) == every_label()
    assert next(training(unreadable, modalities=("text",)))["_mask"].any()


@pytest.mark.parametrize("questions_per_image", [5, 0])
def test_broken_records_become_blank_rows(questions_per_image):
    source = make(length=200, broken=(10, 77))
    kind = {"questions_per_image": questions_per_image}
    expected = [label for label in every_label(200) if label // 10 not in (10, 77)]
    assert labels(evaluation(source, **kind)) == expected
    assert source.broken.keys() == {10, 77}
    length = 200 if questions_per_image else len(every_label(200))
    batches = take(training(source, **kind), length // 4)
    for batch in batches:
        present = batch["image_mask"].repeat(max(questions_per_image, 1))
        assert not batch["_mask"][~present].any()
        assert not batch["image"][~batch["image_mask"]].any()
    shown = Counter(image for batch in batches for image in images(batch))
    assert shown[10] == shown[77] == 0
    assert shown[None] == (2 if questions_per_image else 3 + 5)


@pytest.mark.parametrize("threads", [0, 2])
def test_too_many_broken_records_end_the_iteration(threads):
    source = make(length=200, broken=(10, 77, 150))
    with pytest.raises(UserError, match="fake/train: at least 3 of 200"):
        list(training(source, epochs=1, threads=threads, prefetch=threads))
    with pytest.raises(UserError, match="fake/train: at least 3 of 200"):
        list(evaluation(make(length=200, broken=(10, 77, 150)), threads=threads, prefetch=threads))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"modalities": ("image", "audio")}, "pass one or more of image, text"),
        ({"modalities": ()}, "pass one or more of image, text"),
        ({"questions_per_image": -1}, "pass 0 or more"),
        ({"source": make(length=0)}, "no records"),
    ],
)
def test_mistakes_are_named(change, part):
    with pytest.raises(UserError, match=part):
        training(**change)
