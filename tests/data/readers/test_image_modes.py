"""Pictures of every mode become RGB of 8 bits, against numpy."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from mmjax.data.readers import image_modes
from mmjax.data.readers.image_modes import read_rgb
from mmjax.data.readers.transforms import read_image
from mmjax.errors import UserError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3), np.uint8)
WIDE = RNG.integers(0, 2**16, (6, 9), np.uint16)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(rows, bits, color, key=None):
    """A PNG file of any type, from its rows of bytes; `key` are the numbers of its tRNS chunk."""
    height, width = rows.shape[:2]
    lines = b""
    for row in rows.reshape(height, -1):
        if bits < 8:
            places = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :]
            lines += b"\0" + np.packbits(places.ravel()).tobytes()
        else:
            lines += b"\0" + row.astype(f">u{bits // 8}").tobytes()

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    clear = b"" if key is None else chunk(b"tRNS", np.array(key, ">u2").tobytes())
    body = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + clear + body


def pixels(data, **options):
    return np.asarray(read_rgb(data, **options))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_of_sixteen_bits_the_upper_eight_are_kept(kind):
    expected = np.repeat((WIDE >> 8)[..., None], 3, -1)
    np.testing.assert_array_equal(pixels(saved(PIL.Image.fromarray(WIDE), kind)), expected)


def test_of_sixteen_bits_in_several_channels_the_upper_eight_are_kept():
    deep = RNG.integers(0, 2**16, (6, 9, 4), np.uint16)
    np.testing.assert_array_equal(pixels(png(deep[..., :3], 16, 2)), deep[..., :3] >> 8)
    grey = deep[..., :2].copy()
    grey[..., 1] = np.where(grey[..., 1] > 2**15, 2**16 - 1, 0)
    expected = np.where(grey[..., 1:] > 0, grey[..., :1] >> 8, 255).repeat(3, -1)
    np.testing.assert_array_equal(pixels(png(grey, 16, 4)), expected)
    image = PIL.Image.fromarray(WIDE)
    shown = read_image(image, (6, 9))
    np.testing.assert_array_equal(shown, np.repeat((WIDE >> 8)[..., None], 3, -1))
    with pytest.raises(UserError, match="mode F has 32 bits a channel"):
        read_rgb(saved(PIL.Image.fromarray(np.float32(WIDE)), "TIFF"))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_one_transparent_grey_of_any_depth(bits):
    """Other greys stay, which they would not if its number were compared with other bits."""
    grey = RNG.integers(0, 2**bits, (6, 9), np.uint16)
    key = int(grey[2, 3])
    shown = grey >> 8 if bits == 16 else grey * (255 // (2**bits - 1))
    expected = np.where((grey == key)[..., None], (9, 8, 7), shown[..., None])
    np.testing.assert_array_equal(pixels(png(grey, bits, 0, key), background=(9, 8, 7)), expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_one_transparent_colour(bits):
    color = RNG.integers(0, 2**bits, (6, 9, 3), np.uint16)
    expected = (color >> (bits - 8)).astype(np.uint8)
    expected[2, 3] = 255
    np.testing.assert_array_equal(pixels(png(color, bits, 2, color[2, 3])), expected)


@pytest.mark.parametrize("band", [10, 2**22])
def test_alpha_mixes_with_the_background(band, monkeypatch):
    monkeypatch.setattr(image_modes, "BAND", band)  # in one piece and row by row
    alpha = RNG.integers(0, 256, (6, 9, 1), np.uint8)
    data = saved(PIL.Image.fromarray(np.concatenate([PIXELS, alpha], -1)), "PNG")
    for color in ((255, 255, 255), (0, 128, 30)):
        mixed = (PIXELS * (alpha / 255.0)) + np.array(color) * (1 - alpha / 255.0)
        found = pixels(data, background=color)
        np.testing.assert_allclose(found, mixed, atol=1.01)
        np.testing.assert_array_equal(found[alpha[..., 0] == 255], PIXELS[alpha[..., 0] == 255])
    np.testing.assert_array_equal(pixels(data), pixels(data, background=(255, 255, 255)))
    np.testing.assert_array_equal(
        read_image(data, (6, 9), background=(0, 128, 30)), pixels(data, background=(0, 128, 30))
    )
    with pytest.raises(UserError, match="must be three numbers, 0 to 255"):
        read_image(data, 4, background=(0, 0, 256))


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
@pytest.mark.parametrize("clear", [None, 2])
def test_palettes_with_and_without_a_transparent_entry(kind, clear):
    table = RNG.integers(0, 255, (4, 3), np.uint8)
    index = np.arange(54).reshape(6, 9).astype(np.uint8) % 4
    image = PIL.Image.fromarray(index)
    image = image.convert("P")
    image.putdata(index.ravel())
    image.putpalette(table.ravel().tolist())
    data = saved(image, kind, **({} if clear is None else {"transparency": clear}))
    expected = table[index]
    if clear is not None:
        expected[index == clear] = 255
    np.testing.assert_array_equal(pixels(data), expected)


def test_one_bit_is_black_and_white():
    black = WIDE > 2**15
    data = saved(PIL.Image.fromarray(black), "PNG")
    np.testing.assert_array_equal(pixels(data), np.where(black, 255, 0)[..., None].repeat(3, -1))


def flat_cmyk(color):
    """CMYK of a colour without black, and a picture of it that JPEG keeps."""
    return PIL.Image.new("CMYK", (16, 16), (*(255 - c for c in color), 0))


def test_cmyk():
    cmyk = RNG.integers(0, 256, (6, 9, 4), np.uint8)
    data = saved(PIL.Image.frombytes("CMYK", (9, 6), cmyk.tobytes()), "TIFF")
    light = (255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255
    np.testing.assert_allclose(pixels(data), light, atol=1.01)
    found = pixels(saved(flat_cmyk((200, 40, 90)), "JPEG", quality=100))
    np.testing.assert_allclose(found, np.broadcast_to((200, 40, 90), found.shape), atol=2)


def test_ycck():
    """A CMYK file says by one byte of its Adobe segment that its numbers are YCCK."""
    red, green, blue = color = (200, 40, 90)
    # As Adobe writes it, YCC is of the inks and K inverted (libjpeg's jccolor.c of inverted CMYK).
    cyan, magenta, yellow = 255 - red, 255 - green, 255 - blue
    luma = 0.299 * cyan + 0.587 * magenta + 0.114 * yellow
    numbers = (luma, 128 + (yellow - luma) / 1.772, 128 + (cyan - luma) / 1.402)
    # Pillow writes CMYK inverted: what lies in the file is 255 minus what is given.
    image = PIL.Image.new("CMYK", (16, 16), (*(255 - round(n) for n in numbers), 0))
    data = bytearray(saved(image, "JPEG", quality=100))
    place = data.index(b"Adobe") + 11
    assert data[place] == 0
    data[place] = 2
    found = pixels(bytes(data))
    np.testing.assert_allclose(found, np.broadcast_to(color, found.shape), atol=3)


def test_lab():
    """CIELAB with white D50 -> XYZ -> sRGB, by the CIE's formulas (Bradford to D65)."""
    lightness, a, b = 60.0, 20.0, -30.0
    data = saved(
        PIL.Image.new("LAB", (4, 4), (round(lightness * 2.55), 128 + 20, 128 - 30)), "TIFF"
    )
    fy = (lightness + 16) / 116
    f = np.array([fy + a / 500, fy, fy - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    xyz = xyz * (0.9642, 1.0, 0.8249)
    to_linear = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = np.array(to_linear) @ xyz
    color = 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    found = pixels(data)
    np.testing.assert_allclose(found, np.broadcast_to(color, found.shape), atol=2)
