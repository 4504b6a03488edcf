"""Pictures from paths, bytes and open files: turned, limited, and damaged ones in one line."""

import io
import logging
import tarfile

import numpy as np
import PIL.Image
import pytest

from mmjax.data.readers import content, image_file
from mmjax.data.readers.by_kind import read_images
from mmjax.data.readers.image_modes import read_rgb
from mmjax.data.readers.transforms import decode_image, read_image
from mmjax.errors import UserError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3), np.uint8)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data, **options):
    return np.asarray(read_rgb(data, **options))


TURNED = {  # what is seen of an array by the tag in the file (Exif 2.32, 4.6.4)
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: np.rot90(x, 2),
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("turn", TURNED)
def test_a_picture_is_turned_as_the_camera_noted(turn, kind):
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(PIL.Image.fromarray(PIXELS), kind, exif=exif, **options)
    np.testing.assert_array_equal(pixels(data), TURNED[turn](PIXELS), strict=True)
    with PIL.Image.open(io.BytesIO(data)) as image:
        shape = TURNED[turn](PIXELS).shape[:2]
        np.testing.assert_array_equal(read_image(image, shape), TURNED[turn](PIXELS))


def test_a_path_bytes_and_an_open_file_are_read_alike(tmp_path):
    path = tmp_path / "it.png"
    PIL.Image.fromarray(PIXELS).save(path)
    data = path.read_bytes()
    with tarfile.open(tmp_path / "it.tar", "w") as shard:
        shard.add(path, "it.png")
    with tarfile.open(tmp_path / "it.tar") as shard, path.open("rb") as file:
        member = shard.extractfile("it.png")
        values = [str(path), path, data, bytearray(data), io.BytesIO(data), file, member, None]
        found, mask, *_ = read_images(values, size=(6, 9))
    assert mask.tolist() == [True] * 7 + [False]
    np.testing.assert_array_equal(found[:7], np.broadcast_to(PIXELS, (7, 6, 9, 3)))
    np.testing.assert_array_equal(decode_image(data, 5), read_image(PIXELS, 5))
    late = io.BytesIO(b"rest" + data)
    late.seek(4)  # an open file begins where it is
    for _ in range(2):  # and stays there
        np.testing.assert_array_equal(pixels(late), PIXELS)
    assert late.tell() == 4
    stream = Stream(data)
    np.testing.assert_array_equal(pixels(stream), PIXELS)


class Stream(io.BytesIO):
    """An open file that cannot seek, such as a remote one."""

    def seekable(self):
        return False

    def seek(self, *_):
        raise OSError("no way back")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_is_read_and_that_is_said_once(kind, caplog):
    image_file._tell_animated.cache_clear()
    frames = [PIL.Image.new("RGB", (5, 4), color) for color in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert (pixels(data) == (255, 0, 0)).all()
    assert [r.message for r in caplog.records] == [
        f"of {kind} files with several pictures the first is read"
    ]
    with PIL.Image.open(io.BytesIO(data)) as plain:
        plain.load()
        loaded = image_file.load(data)
        assert loaded.mode == plain.mode
        np.testing.assert_array_equal(np.asarray(loaded), np.asarray(plain))


def photograph(height, width):
    """Smooth noise and a hard edge."""
    rows, columns = np.mgrid[:height, :width] / 40
    made = 128 + 60 * np.sin(rows + 2 * np.cos(columns)) + RNG.normal(0, 4, (height, width))
    made[: height // 3, : width // 3] = 20
    return np.stack([made, 255 - made, 0.5 * made], -1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize(
    ("shape", "size", "side"),
    [((256, 320), 64, 128), ((512, 512), 64, 128), ((255, 255), 64, 255), ((512, 300), 40, 150)],
)
def test_large_jpegs_of_training_data_are_decoded_smaller(shape, size, side, turn):
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    data = saved(PIL.Image.fromarray(photograph(*shape)), "JPEG", quality=90, exif=exif)
    assert min(image_file.decode(data, (size, size)).image.size) == side
    fast, full = decode_image(data, size).astype(int), read_image(data, size)
    apart = np.abs(fast - full)
    assert apart.mean() <= 1.5
    assert apart.max() <= 16
    assert (min(shape) == side) == (apart == 0).all()


def test_what_is_read_for_a_model_is_decoded_in_full():
    """Published models are compared bit by bit; so are the pixels that a user predicts from."""
    data = saved(PIL.Image.fromarray(photograph(256, 256)), "JPEG")
    with PIL.Image.open(io.BytesIO(data)) as image:
        full = np.asarray(image)
    np.testing.assert_array_equal(np.asarray(image_file.load(data)), full)
    np.testing.assert_array_equal(pixels(data), full)
    small = np.asarray(PIL.Image.fromarray(full).resize((8, 8), PIL.Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(read_images([data], size=(8, 8))[0][0], small)


def refused(value):
    with pytest.raises(UserError) as caught:
        read_image(value, 8)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP"])
def test_cut_and_empty_files_are_one_line(kind, tmp_path):
    data = saved(PIL.Image.fromarray(RNG.integers(0, 256, (40, 40, 3), np.uint8)), kind)
    path = tmp_path / "it.x"
    path.write_bytes(data[: len(data) // 2])
    assert f"image {path}: cannot be read" in refused(path)
    assert f"image of {len(data) // 2} bytes: " in refused(data[: len(data) // 2])
    with path.open("rb") as file:
        assert f"image {path} (an open file): " in refused(file)
    path.write_bytes(b"")
    assert "empty, it has 0 bytes; pass an intact file" in refused(path)
    assert "image of 0 bytes: empty" in refused(b"")
    with path.open() as text, pytest.raises(UserError, match="empty"):
        read_image(text, 8)
    path.write_text("text")
    with path.open() as text:
        assert 'gives str, not bytes; open it with "rb"' in refused(text)


def test_limits_are_stated(monkeypatch, tmp_path):
    path = tmp_path / "it.png"
    PIL.Image.fromarray(PIXELS).save(path)
    data = path.read_bytes()
    monkeypatch.setattr(image_file, "MAX_PIXELS", 53)
    assert "has 6 x 9 pixels, over 53 (MAX_PIXELS)" in refused(data)
    monkeypatch.setattr(image_file, "MAX_PIXELS", 54)
    read_image(path, 8)
    monkeypatch.setattr(content, "MAX_BYTES", len(data))
    read_image(io.BytesIO(data), 8)
    monkeypatch.setattr(content, "MAX_BYTES", len(data) - 1)
    for value in (path, data, io.BytesIO(data)):
        assert f"over {len(data) - 1} bytes (MAX_BYTES)" in refused(value)
