"""Files of videos: pictures spread evenly over the time, and no more than a stated memory.

PyAV decodes MP4, WebM, MKV, MOV, AVI, MPEG and similar files; Pillow animated GIF, WebP and PNG.
One picture at a time is decoded in full and resized, so that beside what a decoder keeps (up to 16
pictures in H.264) and the content of the file the memory is that of the result.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Bool, Float64, Int64, UInt8

from mmjax.data.readers import animation, audio_limits, container, video_index
from mmjax.data.readers.content import Content, named, opened
from mmjax.data.readers.image_modes import to_rgb
from mmjax.data.readers.transforms import resize
from mmjax.errors import UserError, decoding

Size = tuple[int, int] | None
Part = tuple[float, float | None]  # start and duration in seconds; None: to the end
MAX_PIXELS = 2**25  # of one picture: 8K, 0.1 GiB as RGB
MAX_PIXEL_SECONDS = 2**36  # of the part that is read: 9 hours of 1920 x 1080


@dataclasses.dataclass(frozen=True)
class Clip:
    """Pictures of a video.

    Attributes:
        pixels: of T pictures; zeros where there is none.
        mask: which there are: all, or the first of them where the video has fewer.
        times: when each of those begins, in seconds from the first picture of the file.
        decoded: how many pictures were decoded to see them.
    """

    pixels: UInt8[np.ndarray, "T height width 3"]
    mask: Bool[np.ndarray, " T"]
    times: Float64[np.ndarray, " K"]
    decoded: int


def read(
    value: Content,
    frames: int,
    size: tuple[int, int] | None = None,
    start: float = 0.0,
    duration: float | None = None,
) -> Clip:
    """Pictures of a video, or of a part of it, evenly spread over its time.

    Of `frames` equal spans of time, each is seen at its middle, as the picture that is shown then,
    whatever the rate of the video does. All pictures are read of what has no more than `frames`.
    They are turned as the camera noted, and resized (bicubic); the aspect ratio is not kept.

    Args:
        value: a path, the bytes of a file, or a file that is open for reading bytes.
        frames: T.
        size: height and width of the result in pixels; None: as they are.
        start, duration: of the part in seconds; None: to the end.

    Raises:
        UserError: no file, no video, a damaged one, one of more than MAX_PIXELS a picture or
            MAX_PIXEL_SECONDS, a start behind the end, or PyAV is missing.
    """
    name = named("video", value)
    audio_limits.check_part(name, start, duration)
    with opened(value, f"{name}: cannot be read") as file:
        head = file.read(container.HEAD)
        file.seek(0)
        reader = _animated if animation.is_animation(head) else _filmed
        with decoding(f"{name}: cannot be read", container.ADVICE):
            if reader is _filmed and not container.is_container(head):
                raise UserError(f"{name}: not a video; {container.ADVICE}")
            return reader(file, name, frames, size, (start, duration))


def spread(
    times: Float64[np.ndarray, " N"],
    end: float,
    count: int,
    part: Part,
) -> Int64[np.ndarray, " K"]:
    """Which pictures to see: those shown in the middles of `count` equal spans of a part.

    Args:
        times: when each picture begins, in seconds, in order.
        end: of the last one.
        count: how many; of fewer all are seen.
        part: start and duration in seconds.
    """
    begin, duration = part
    stop = end if duration is None else min(end, begin + duration)
    first = max(0, int(np.searchsorted(times, begin, "right")) - 1)
    last = max(first + 1, int(np.searchsorted(times, stop, "left")))
    if last - first <= count:
        return np.arange(first, last)
    middles = begin + (np.arange(count) + 0.5) * ((stop - begin) / count)
    return (np.searchsorted(times, middles, "right") - 1).clip(first, last - 1).astype(np.int64)


def _filmed(file: Any, name: str, frames: int, size: Size, part: Part) -> Clip:
    with (
        container.container(file, name, MAX_PIXELS) as found,
        contextlib.closing(_packets(file, name)) as again,
    ):
        from av.video.reformatter import VideoReformatter

        stream = container.stream_of(found, "video", name, MAX_PIXELS)
        pictures = video_index.index(found, stream, name)
        sides = (stream.codec_context.height, stream.codec_context.width)
        if 0 in sides:  # FFmpeg forgets a size that is over its limit
            raise UserError(
                f"{name}: its pictures have no size, or over {MAX_PIXELS} pixels (MAX_PIXELS): pass"
                " a smaller one"
            )
        check_size(name, sides, pictures.end, part)
        chosen = spread(pictures.times, pictures.end, frames, part)
        keys, counted = pictures.keys[chosen], not len(pictures.stamps)
        starts, spans = np.unique(keys), []
        for key in map(int, starts):
            end = int(pictures.places[chosen[keys == key]].max()) + 1
            spans.append((key, len(pictures.packets) if counted else end - key))
        decoder = _Decoder(stream.codec_context)
        reformatter = VideoReformatter()  # one of all frames: it takes longer to make than to use
        pixels = _Pixels(frames, size)
        pieces = video_index.pieces(found, stream, pictures, spans, again)
        for key, packets in zip(starts, pieces, strict=True):
            rows, seen = np.flatnonzero(keys == key), 0
            for frame in video_index.shown(decoder.frames(packets), pictures, chosen[rows]):
                pixels.put(int(rows[seen]), _upright(frame, reformatter))
                seen += 1
            if seen < len(rows):
                late = pictures.times[chosen[rows[seen]]]
                raise UserError(f"{name}: its picture at {late:.7g} s cannot be decoded; cut it")
    real = np.arange(frames) < len(chosen)
    return Clip(pixels.found, real, pictures.times[chosen], decoder.count)


class _Pixels:
    """Pictures of one size: that which is asked for, or that of the first."""

    def __init__(self, frames: int, size: Size):
        self._frames, self._size = frames, size

    def put(self, row: int, image: PIL.Image.Image) -> None:
        """Makes a picture that of a row."""
        if self._size is None:
            self._size = image.height, image.width
        self.found[row] = resize(image, self._size)

    @functools.cached_property
    def found(self) -> UInt8[np.ndarray, "T height width 3"]:
        """All rows, zeros where there is no picture."""
        return np.zeros((self._frames, *self._size, 3), np.uint8)


class _Decoder:
    """Decodes packets, and counts them."""

    def __init__(self, context: Any):
        self.count, self._context = 0, context

    def frames(self, packets: Iterable[Any]) -> Iterator[Any]:
        """The frames of packets that begin with a keyframe, whatever was decoded before."""
        self._context.flush_buffers()
        for packet in packets:
            self.count += 1
            yield from self._context.decode(packet)
        yield from self._context.decode(None)  # what it has kept back


def _packets(file: Any, name: str) -> Iterator[Any]:
    """The packets of the video track from the first on, from a container of their own."""
    file.seek(0)
    with container.container(file, name, MAX_PIXELS) as found:
        yield from found.demux(container.stream_of(found, "video", name, MAX_PIXELS))


def _animated(file: Any, name: str, frames: int, size: Size, part: Part) -> Clip:
    with animation.animation(file, name, MAX_PIXELS) as image:
        check_size(name, (image.height, image.width), 0.0, part)
        times, end = animation.times(image, name)
        check_size(name, (image.height, image.width), end, part)
        chosen = spread(times, end, frames, part)
        pixels = _Pixels(frames, size)
        for row, number in enumerate(chosen):
            image.seek(int(number))
            pixels.put(row, to_rgb(image, name))
    return Clip(pixels.found, np.arange(frames) < len(chosen), times[chosen], int(chosen[-1]) + 1)


def check_size(name: str, sides: tuple[int, int], end: float, part: Part) -> None:
    """Raises a UserError for a part of a video that begins behind its end, or is too large.

    Args:
        name: for messages.
        sides: height and width in pixels.
        end: of the video, in seconds; 0: not known yet.
        part: start and duration in seconds.
    """
    pixels, (start, duration) = sides[0] * sides[1], part
    if pixels > MAX_PIXELS:
        raise UserError(
            f"{name}: has {sides[0]} x {sides[1]} pixels, over {MAX_PIXELS} (MAX_PIXELS): pass a"
            " smaller one"
        )
    if not end:
        return
    audio_limits.check_start(name, start, end)
    seconds = end - start if duration is None else min(duration, end - start)
    if pixels * seconds > MAX_PIXEL_SECONDS:
        raise UserError(
            f"{name}: {sides[0]} x {sides[1]} pixels for {seconds:.7g} s are over"
            f" {MAX_PIXEL_SECONDS} pixels times seconds (MAX_PIXEL_SECONDS): read a part by start"
            " and duration, or pass a smaller one"
        )


def _upright(frame: Any, reformatter: Any) -> PIL.Image.Image:
    """A frame as a picture, turned and mirrored by multiples of 90 degrees as its matrix says.

    The matrix (a b u, c d v, x y w) of the file shows what is at (p, q), right and down, at
    (a p + c q + x, b p + d q + y) (ISO/IEC 14496-12, 6.2.2).
    """
    from av.sidedata.sidedata import Type

    pixels = reformatter.reformat(frame, format="rgb24").to_ndarray()
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is not None:
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(np.int64)
        down, right = d, a
        if abs(b) > abs(a):
            pixels, down, right = pixels.swapaxes(0, 1), b, c
        pixels = pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
    return PIL.Image.fromarray(np.ascontiguousarray(pixels))
