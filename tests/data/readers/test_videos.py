"""Numbered videos: the right picture at the right time, and no more decoded than that takes."""

import dataclasses
import io
import struct
from fractions import Fraction

import numpy as np
import PIL.Image
import pytest

from mmjax.data.readers import animation, video_file, video_index
from mmjax.data.readers.lengths import read_videos
from mmjax.errors import UserError
from mmjax.factory.tables.kinds import KINDS, Wanted
from mmjax.types import Input
from tests.data.readers.movies import movie, number_of, numbered

RATE = 25
STEADY = np.arange(100) / RATE
GROUPS = {"g": "30", "sc_threshold": "0"}


def read(data, frames=8, size=(32, 48), start=0.0, duration=None):
    return video_file.read(data, frames, size, start, duration)


def numbers(clip):
    return [number_of(picture) for picture in clip.pixels[clip.mask]]


def naive(times, end, count, start=0.0, duration=None):
    """The picture that is shown in the middle of each span, by looking at all of them."""
    stop = end if duration is None else min(end, start + duration)
    middles = [start + (i + 0.5) * (stop - start) / count for i in range(count)]
    return [max(i for i, t in enumerate(times) if t <= middle) for middle in middles]


FORMATS = [
    ("mp4", "libx264", {}),
    ("mp4", "libx264", GROUPS),
    ("mp4", "mpeg4", {"g": "12"}),
    ("mov", "mjpeg", {}),
    ("matroska", "libx264", GROUPS),
    ("webm", "libvpx-vp9", {"g": "30", "deadline": "realtime"}),
    ("avi", "mpeg4", {"g": "12"}),
    ("avi", "libx264", {}),  # its times are not those of the pictures
    ("mpegts", "libx264", GROUPS),
    ("mpeg", "mpeg2video", {"g": "12", "bf": "2"}),  # other times are found by seeking
    ("flv", "libx264", GROUPS),
]


@pytest.mark.parametrize(("kind", "codec", "options"), FORMATS)
def test_pictures_are_spread_evenly_over_the_time(kind, codec, options):
    unit = Fraction(1, RATE) if kind in ("avi", "mpeg") else Fraction(1, 1000)
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    data = movie(STEADY, kind=kind, codec=codec, options=options, pixels=pixels, unit=unit)
    clip = read(data)
    expected = naive(STEADY, 4.0, 8)
    assert numbers(clip) == expected
    assert clip.mask.all()
    np.testing.assert_allclose(clip.times, STEADY[expected], atol=2e-3)
    clip = read(data, 5, start=1.0, duration=1.5)
    assert numbers(clip) == naive(STEADY, 4.0, 5, 1.0, 1.5)


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "libx264"), ("matroska", "libvpx-vp9")])
def test_a_varying_rate_is_followed_by_time(kind, codec):
    """Slides of a second, then a burst, then a long still picture."""
    times = np.array([0, 1, 2, 3, *(3 + np.arange(1, 41) / 20), 9.0, 10.0])
    data = movie(times, kind=kind, codec=codec, options={"g": "10"})
    for start, duration in ((0.0, 10.0), (0.5, 3.0), (3.0, 2.0), (3.01, 6.9)):
        clip = read(data, 6, start=start, duration=duration)
        expected = naive(times, 10.0, 6, start, duration)
        assert numbers(clip) == expected
        np.testing.assert_allclose(clip.times, times[expected], atol=2e-3)
    assert numbers(read(data, 6, start=4.96, duration=5.0)) == [42, 43, 44]


def test_a_short_video_is_read_whole_and_masked_behind_its_end():
    clip = read(movie(STEADY[:5]))
    assert numbers(clip) == [0, 1, 2, 3, 4]
    assert clip.mask.tolist() == [True] * 5 + [False] * 3
    assert not clip.pixels[5:].any()
    assert numbers(read(movie(STEADY[:1]))) == [0]
    assert numbers(read(movie(STEADY[:8]))) == list(range(8))


def test_no_more_is_decoded_than_from_the_keyframe_to_the_picture():
    data = movie(STEADY, options={"g": "10", "sc_threshold": "0", "bf": "0"})
    expected = naive(STEADY, 4.0, 8)
    assert read(data).decoded == sum(number % 10 + 1 for number in expected)
    assert read(movie(STEADY, codec="mpeg4", options={"g": "1"})).decoded == 8
    assert read(data, 3, start=2.0, duration=0.1).decoded == 3


def rotated(data, matrix):
    """An MP4 file with another matrix in its track header (ISO/IEC 14496-12, 8.3.2)."""
    a, b, c, d = matrix
    place = data.index(b"tkhd") + 44
    numbers = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    return data[:place] + struct.pack(">9i", *numbers) + data[place + 36 :]


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((1, 0, 0, 1), lambda x: x),
        ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),  # clockwise, as telephones write it
        ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
        ((0, -1, 1, 0), lambda x: np.rot90(x, 1)),
        ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
        ((1, 0, 0, -1), lambda x: x[::-1]),
        ((0, 1, 1, 0), lambda x: x.swapaxes(0, 1)),
    ],
)
def test_a_video_is_turned_as_the_camera_noted(matrix, turn):
    data = movie(STEADY[:3], codec="mpeg4", options={"qmin": "1", "qmax": "1"})
    plain = read(data).pixels[1]
    expected = turn(plain)
    found = read(rotated(data, matrix), size=expected.shape[:2]).pixels[1]
    np.testing.assert_array_equal(found, expected)
    assert (plain != np.rot90(plain, 2)).any()


def test_paths_bytes_open_files_and_arrays_are_inputs_of_a_model(tmp_path):
    path = tmp_path / "it.mp4"
    path.write_bytes(movie(STEADY))
    array = np.stack([numbered(i) for i in (3, 5)])
    with path.open("rb") as file:
        values = [str(path), path.read_bytes(), file, array, None]
        pixels, mask, *_ = read_videos(values, name="clip", shape=(4, 32, 48, 3))
    assert (pixels.shape, pixels.dtype) == ((5, 4, 32, 48, 3), np.uint8)
    assert mask.sum(axis=1).tolist() == [4, 4, 4, 2, 0]
    assert [number_of(p) for p in pixels[0]] == naive(STEADY, 4.0, 4)
    np.testing.assert_array_equal(pixels[1], pixels[0])
    np.testing.assert_array_equal(pixels[2], pixels[0])
    np.testing.assert_array_equal(pixels[3, :2], array)
    assert not pixels[~mask].any()
    example = Input(np.zeros((1, 4, 32, 48, 3), np.uint8), np.ones((1, 4), bool))
    kind = KINDS["video"]
    found = kind.reader(Wanted("clip", example, None, None, None, 16_000))([str(path)])
    np.testing.assert_array_equal(found.value, pixels[:1])
    assert kind.files
    with pytest.raises(UserError, match=r"clip: expected uint8 numbers of shape \[4, 32, 48, 3\]"):
        read_videos([array[:, :9]], name="clip", shape=(4, 32, 48, 3))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animated_pictures_are_videos(kind):
    spans = [100, 300, 60, 240, 200]  # milliseconds
    frames = [PIL.Image.fromarray(numbered(i + 1)) for i in range(len(spans))]
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(
        file, kind, save_all=True, append_images=frames[1:], duration=spans, loop=0, **options
    )
    clip = read(file.getvalue())
    assert numbers(clip) == [1, 2, 3, 4, 5]
    begins = np.cumsum([0, *spans[:-1]]) / 1000
    np.testing.assert_allclose(clip.times, begins, atol=1e-9)
    clip = read(file.getvalue(), 3)
    assert numbers(clip) == [1 + i for i in naive(begins, 0.9, 3)]
    assert numbers(read(file.getvalue(), 2, start=0.4, duration=0.3)) == [3, 4]


def refused(value, **options):
    with pytest.raises(UserError) as caught:
        read(value, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_limits_are_stated(monkeypatch):
    data = movie(STEADY)
    assert "start=4.5 s is behind its end at 4 s" in refused(data, start=4.5)
    assert "must be 0 s or more" in refused(data, start=-1.0)
    monkeypatch.setattr(video_file, "MAX_PIXEL_SECONDS", 32 * 48 * 4 - 1)
    assert "32 x 48 pixels for 4 s are over 6143 pixels times seconds" in refused(data)
    assert numbers(read(data, duration=3.9))
    monkeypatch.setattr(video_index, "MAX_FRAMES", 99)
    assert "has over 99 pictures (MAX_FRAMES)" in refused(data)
    monkeypatch.setattr(video_file, "MAX_PIXELS", 32 * 48 - 1)
    assert "video of" in refused(data)
    file = io.BytesIO()
    frames = [PIL.Image.fromarray(numbered(i)) for i in range(3)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert "has pictures up to 32 x 48 pixels, over 1535 (MAX_PIXELS)" in refused(file.getvalue())
    stills = io.BytesIO()
    frames[0].save(stills, "PNG", save_all=True, append_images=frames[1:])
    assert "has 32 x 48 pixels, over 1535 (MAX_PIXELS)" in refused(stills.getvalue())
    monkeypatch.setattr(video_file, "MAX_PIXELS", 32 * 48)
    data = bytearray(file.getvalue())
    last = data.rindex(struct.pack("<BHHHH", 0x2C, 0, 0, 48, 32))
    data[last + 1 : last + 3] = (2).to_bytes(2, "little")  # the last picture lies two to the right
    assert "has pictures up to 32 x 50 pixels" in refused(bytes(data))
    monkeypatch.setattr(animation, "MAX_PICTURE_PIXELS", 3 * 32 * 48 - 1)
    assert "3 pictures of 32 x 48 are over 4607 pixels (MAX_PICTURE_PIXELS)" in refused(
        file.getvalue()
    )


def test_what_is_no_video_is_one_line(tmp_path):
    sound = movie(sound=np.zeros((2, 2000)))
    assert "has no video track; pass a file that has one" in refused(sound)
    path = tmp_path / "it.mp4"
    assert f"video {path}: cannot be read: no such file" in refused(path)
    for content in (b"", b"text", b"\xff\xd8\xff\xe0 a photograph", b"#EXTM3U\nother.mp4\n"):
        path.write_bytes(content)
        assert f"video {path}: " in refused(path)
    whole = movie(STEADY)
    path.write_bytes(whole[: len(whole) // 2])
    assert f"video {path}: cannot be read (" in refused(path)


def test_pictures_before_the_first_keyframe_are_left_out():
    """A broadcast that is recorded from the middle of a group of pictures on."""
    data = movie(STEADY, kind="mpegts", options={"g": "30", "sc_threshold": "0"})
    packets = 188
    clip = read(data[packets * (len(data) // packets // 8) :], 4)
    first = number_of(clip.pixels[0])
    assert clip.mask.all()
    expected = [round(t * RATE) for t in clip.times - clip.times[0]]
    assert [n - first for n in numbers(clip)] == expected


def test_spans_that_cannot_be_sought_are_read_in_order():
    """Packets of any spans, overlapping or not, are those of the file."""
    packets = [Packet(i, i, i % 4 == 0) for i in range(20)]
    index = video_index.Index(
        np.arange(20.0),
        20.0,
        np.arange(20),
        np.arange(20),
        np.arange(20) // 4 * 4,
        [(p.pts, p.dts, p.is_keyframe) for p in packets],
    )
    spans = [(0, 3), (4, 7), (8, 2), (16, 4)]
    for lost in (99, 0, 5, 8, 9, 17):
        found = Found(packets, lost)
        pieces = video_index.pieces(found, None, index, spans, iter(packets))
        assert [[p.pts for p in piece] for piece in pieces] == [
            list(range(first, first + count)) for first, count in spans
        ]


@dataclasses.dataclass
class Packet:
    pts: int
    dts: int
    is_keyframe: bool
    size: int = 1


@dataclasses.dataclass
class Found:
    """A container in which one packet is not found after seeking."""

    packets: list
    lost: int
    at: int = 0

    def seek(self, target, stream):
        del stream
        self.at = target

    def demux(self, stream):
        del stream
        yield from (packet for packet in self.packets[self.at :] if packet.pts != self.lost)
