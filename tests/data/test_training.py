import json
from collections import Counter

import numpy as np
import pytest

from mmjax.errors import UserError
from tests.data.fakes import (
    assert_equal,
    decode_questions,
    encoder,
    every_label,
    images,
    labels,
    make,
    take,
    training,
)


def test_shapes_and_types():
    batch = next(training())
    forms = {key: (value.shape, value.dtype.name) for key, value in batch.items()}
    assert forms == {
        "image": ((4, 4, 4, 3), "uint8"),
        "image_mask": ((4,), "bool"),
        "image_index": ((12,), "int32"),
        "text": ((12, 5), "int32"),
        "text_mask": ((12, 5), "bool"),
        "targets/label": ((12,), "int32"),
        "targets/label_mask": ((12,), "bool"),
        "slice": ((12,), "int32"),
        "_mask": ((12,), "bool"),
    }


@pytest.mark.parametrize("questions_per_image", [3, 0])
def test_image_question_and_answer_belong_together(questions_per_image):
    texts = {}
    for i in range(23):
        asked = decode_questions(i)
        ids, _ = encoder()(asked["question"] or ("",))
        for answer, kind, row in zip(asked["answer"], asked["type"], ids, strict=False):
            texts[int(answer)] = (i, int(kind), row.tolist())
    for batch in take(training(questions_per_image=questions_per_image), 30):
        index = batch.get("image_index", np.arange(4))
        for b in np.flatnonzero(batch["_mask"]):
            image, kind, ids = texts[batch["targets/label"][b]]
            assert images(batch)[index[b]] == image
            assert batch["slice"][b] == kind
            assert batch["text"][b].tolist() == ids
        blank = ~batch["_mask"]
        assert not batch["text_mask"][blank].any()
        assert not batch["targets/label"][blank].any()


def test_the_questions_of_a_row_are_contiguous():
    batch = next(training())
    np.testing.assert_array_equal(batch["image_index"], np.arange(4).repeat(3))


def test_the_same_seed_gives_the_same_batches_and_another_does_not():
    first, again = take(training(), 12), take(training(), 12)
    for one, other in zip(first, again, strict=True):
        assert_equal(one, other)
    other = take(training(seed=2), 12)
    assert [images(batch) for batch in first] != [images(batch) for batch in other]


def test_every_epoch_has_every_image_once_in_another_order():
    shown = [image for batch in take(training(), 23) for image in images(batch)]
    epochs = [tuple(shown[i : i + 23]) for i in range(0, 92, 23)]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert len(set(epochs)) == 4


def test_flat_epochs_have_every_question_once():
    flat = training(questions_per_image=0, batch_rows=5)
    asked = labels(take(flat, 22))
    length = len(every_label())
    for start in range(0, 2 * length, length):
        assert sorted(asked[start : start + length]) == every_label()
    assert asked[:length] != asked[length : 2 * length]


def test_questions_are_drawn_anew_each_epoch():
    wide = make(length=5)
    batches = take(training(wide, batch_rows=5, questions_per_image=2), 40)
    asked = Counter(
        label for label in labels(batches) if 20 <= label < 30
    )  # of image 2, 5 questions
    assert sum(asked.values()) == 80
    assert asked.keys() == set(range(20, 25))


@pytest.mark.parametrize("settings", [(0, 0), (1, 2), (3, 6)])
def test_a_restored_state_continues_bit_for_bit(settings):
    threads, prefetch = settings
    whole = take(training(), 20)
    first = training(threads=threads, prefetch=prefetch)
    take(first, 8)
    state = json.loads(json.dumps(first.get_state()))
    later = take(first, 12)
    restored = training(threads=threads, prefetch=prefetch)
    take(restored, 3)
    restored.set_state(state)
    for one, two, three in zip(take(restored, 12), later, whole[8:], strict=True):
        assert_equal(one, two)
        assert_equal(one, three)
    first.close()
    restored.close()


def test_epochs_end_with_the_last_full_batch():
    assert len(list(training(epochs=2))) == 46 // 4
    with pytest.raises(UserError, match="23 rows in all epochs do not fill one batch of 24"):
        training(epochs=1, batch_rows=24)


@pytest.mark.parametrize("questions_per_image", [3, 0])
def test_processes_share_the_batches_of_one(questions_per_image):
    kind = {"questions_per_image": questions_per_image}
    alone = take(training(batch_rows=6, **kind), 20)
    parts = [
        take(training(batch_rows=2, process_index=p, process_count=3, **kind), 20) for p in range(3)
    ]
    for batch, *shares in zip(alone, *parts, strict=True):
        assert labels([batch]) == labels(shares)
        assert images(batch) == [image for share in shares for image in images(share)]


def test_processes_end_together():
    for epochs in (1, 3):
        ends = [
            len(list(training(batch_rows=2, epochs=epochs, process_index=p, process_count=3)))
            for p in range(3)
        ]
        assert ends == [23 * epochs // 6] * 3
