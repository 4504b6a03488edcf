import numpy as np
import PIL.Image
import pytest

from mmjax.data.readers.transforms import decode_image, read_image, select_questions, take_questions
from mmjax.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


def record(count):
    return {
        "questions": {
            "question": tuple(f"question {i}" for i in range(count)),
            "answer": np.arange(count, dtype=np.int32),
            "type": np.arange(count, dtype=np.int32) % 3,
        }
    }


def test_an_image_of_the_right_size_passes_unchanged(tmp_path):
    square = PIXELS[:10]
    PIL.Image.fromarray(square).save(tmp_path / "a.png")
    for value in (square, PIL.Image.fromarray(square), tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(read_image(value, 10), square)
    data = (tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(decode_image(data, 10), square)
    np.testing.assert_array_equal(decode_image(data, 7), read_image(square, 7))


def test_resizing_is_bicubic():
    expected = PIL.Image.fromarray(PIXELS).resize((7, 7), PIL.Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(read_image(PIXELS, 7), np.asarray(expected))
    flat = np.full((5, 9, 3), 77, np.uint8)
    assert (read_image(flat, 32) == 77).all()


def test_gray_becomes_three_equal_channels_and_transparent_becomes_white():
    gray = read_image(PIXELS[:10, :, 0], 10)
    np.testing.assert_array_equal(gray, PIXELS[:10, :, :1].repeat(3, -1))
    alpha = np.zeros((10, 10, 1), np.uint8)
    alpha[:5] = 255
    composed = read_image(np.concatenate([PIXELS[:10], alpha], -1), 10)
    np.testing.assert_array_equal(composed[:5], PIXELS[:5])
    assert (composed[5:] == 255).all()


def test_a_transparent_palette_and_a_rotated_photograph(tmp_path):
    palette = PIL.Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((0, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=0)
    read = read_image(tmp_path / "palette.png", 4)
    assert read[0, 0].tolist() == [40, 50, 60]
    assert (read[1:] == 255).all()

    tag = PIL.Image.Exif()
    tag[0x0112] = 6  # orientation: turn by 90 degrees clockwise to view
    PIL.Image.fromarray(PIXELS[:10]).save(tmp_path / "photo.png", exif=tag)
    np.testing.assert_array_equal(read_image(tmp_path / "photo.png", 10), np.rot90(PIXELS[:10], -1))


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (PIXELS / np.float32(255), "float32, not uint8.*multiply by 255"),
        (PIXELS.astype(np.int64), "int64, not uint8"),
        (PIXELS[None], r"shape \[1, 12, 10, 3\]"),
        (PIXELS[..., :2], r"shape \[12, 10, 2\]"),
        (PIXELS[:0], r"shape \[0, 10, 3\]"),
        (PIL.Image.new("F", (4, 4)), "mode F has 32 bits a channel"),
        (3, "expected a path, bytes, an open file, a PIL image or an array, not int"),
    ],
)
def test_other_arrays_are_refused(value, part):
    with pytest.raises(UserError, match=part):
        read_image(value, 8)


def test_files_that_are_no_images_are_named(tmp_path):
    PIL.Image.fromarray(PIXELS).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "damaged.png").write_bytes(whole[:60] + bytes(20) + whole[80:])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for name in ("cut", "damaged", "text", "empty", "folder", "missing"):
        path = tmp_path / f"{name}.png"
        with pytest.raises(UserError) as caught:
            read_image(path, 8)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_selection_has_no_repeats_and_keeps_questions_with_their_answers():
    seen = set()
    for seed in range(50):
        chosen = select_questions(record(5), np.random.default_rng(seed), 3)
        assert chosen["mask"].all()
        assert len(set(chosen["question"])) == 3
        assert chosen["question"] == tuple(f"question {i}" for i in chosen["answer"])
        np.testing.assert_array_equal(chosen["type"], chosen["answer"] % 3)
        seen.add(chosen["question"])
    assert len(seen) > 25  # of 60 ordered choices


def test_selection_is_uniform():
    rng = np.random.default_rng(0)
    draws = np.concatenate([select_questions(record(5), rng, 2)["answer"] for _ in range(2000)])
    np.testing.assert_allclose(np.bincount(draws) / 4000, 0.2, atol=0.02)


def test_what_a_record_lacks_is_padding():
    for chosen in (
        select_questions(record(2), np.random.default_rng(0), 4),
        take_questions(record(6), 4, 4),
    ):
        assert chosen["mask"].tolist() == [True, True, False, False]
        assert chosen["question"][2:] == ("", "")
        assert not chosen["answer"][2:].any()
        assert not chosen["type"][2:].any()
    assert not select_questions(record(0), np.random.default_rng(0), 4)["mask"].any()


def test_taking_in_steps_gives_every_question_once():
    taken = [take_questions(record(10), start, 4) for start in (0, 4, 8)]
    answers = np.concatenate([part["answer"][part["mask"]] for part in taken])
    np.testing.assert_array_equal(answers, np.arange(10))
