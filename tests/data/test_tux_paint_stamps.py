"""What is read from the files of stamps, and which stamps are in one split."""

import shutil

import numpy as np
import PIL.Image
import pytest

from mmjax.data.datasets.tux_paint import stamps
from tests.data import tux


def test_transparent_parts_are_white_and_half_transparent_ones_lighter(tmp_path):
    image = PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((100, 0, 0, 255), (0, 0, 8, 4))
    image.paste((0, 0, 0, 128), (0, 4, 4, 8))
    for mode, red in (("RGBA", 100), ("LA", 30)):
        image.convert(mode).save(tmp_path / "a.png")
        picture = stamps.read_picture(tmp_path / "a.png")
        np.testing.assert_array_equal(picture[1, 1], (red, 0, 0) if mode == "RGBA" else red)
        np.testing.assert_array_equal(picture[6, 1], 127)
        np.testing.assert_array_equal(picture[6, 6], 255)


def test_large_pictures_are_reduced_and_small_ones_kept(tmp_path):
    for size, side in (((700, 20), stamps.LARGEST), ((5, 3), 5)):
        tux.draw(tmp_path, "a", (0, 0, 0), size)
        picture = stamps.read_picture(tmp_path / "a.png")
        assert picture.shape == (side, side, 3)
        assert (picture[side // 2] == 0).all()


def split_of(folder):
    names = stamps.list_stamps(folder)
    return stamps.assign(folder, {n: stamps.read_captions(folder / f"{n}.txt") for n in names})


def place(number):
    return tux.name(number)[-3:]


@pytest.mark.parametrize(
    "shared", ["caption", "translation", "picture", "speech", "name", "nothing"]
)
def test_stamps_that_share_something_are_in_one_split(tmp_path, shared):
    pairs = []
    for number in range(40):
        pair = (
            f"food/{place(number)}",
            f"{'food' if shared == 'name' else 'town'}/{place(number)}-2",
        )
        for row, stamp in enumerate(pair):
            picture = number if shared == "picture" else number + 100 * row
            caption = f"A {stamp}."
            if shared == "caption":
                caption = (f"A thing {number}.", f" a  THING {number}.")[row]
            texts = {("fr", "ro")[row]: f"Chose {number}."} if shared == "translation" else {}
            tux.draw(tmp_path, stamp, tux.colour(picture), caption=caption, **texts)
            if shared == "speech":  # the encoder draws a number for each file
                tux.speak(tmp_path, stamp, ("fr", "ro")[row], 0.1, tux.hertz(number))
        pairs.append(pair)
    found = split_of(tmp_path)
    assert len(found) == 80
    assert all(found[first] == found[second] for first, second in pairs) == (shared != "nothing")
    assert set(found.values()) == set(stamps.SPLITS)


def test_sharing_is_passed_on(tmp_path):
    for number in range(40):
        chain = [f"{letter}/{place(number)}" for letter in "abc"]
        for stamp, picture, caption in zip(chain, (0, 0, 100), ("one", "two", "two"), strict=True):
            tux.draw(tmp_path, stamp, tux.colour(number + picture), caption=f"{caption} {number}")
    found = split_of(tmp_path)
    for number in range(40):
        assert len({found[f"{letter}/{place(number)}"] for letter in "abc"}) == 1


def test_names_that_are_only_numbers_do_not_belong_together(tmp_path):
    for number in range(40):
        tux.draw(tmp_path, f"symbols/{number}", tux.colour(number))
    assert len(set(split_of(tmp_path).values())) == 3


def test_files_without_a_partner_are_passed_over(tmp_path):
    tux.draw(tmp_path, "a/one", (1, 2, 3))
    shutil.copy(tmp_path / "a/one.png", tmp_path / "a/one_mirror.png")
    shutil.copy(tmp_path / "a/one.txt", tmp_path / "a/drawn_as_svg.txt")
    for clip in ("one_desc_fr", "one", "drawn_as_svg_desc_fr", "one_desc_da.ogg", "one_desc"):
        (tmp_path / f"a/{clip}.ogg").write_bytes(b"")
    assert stamps.list_stamps(tmp_path) == ["a/one"]
    clips = stamps.list_clips(tmp_path, ["a/one"])
    assert [clip[:2] for clip in clips] == [("a/one", "en"), ("a/one", "fr")]


def test_captions_are_read_as_they_are_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(
        "A frog.\n\nfr.utf8=Une grenouille = verte.\r\nca@valencia.utf8=Gr\u2028anota\nzu.utf8=\n",
        encoding="utf-8",
    )
    expected = {"en": "A frog.", "fr": "Une grenouille = verte.", "ca@valencia": "Gr\u2028anota"}
    assert stamps.read_captions(path) == expected
    for content in ("\nfr.utf8=Une grenouille.\n", "A frog.\nUne grenouille.\n"):
        path.write_text(content)
        with pytest.raises(ValueError, match="caption"):
            stamps.read_captions(path)
