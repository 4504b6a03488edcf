"""Small videos of numbered pictures, made with PyAV."""

import io
from fractions import Fraction

import av
import numpy as np

RATE = 16_000  # Hz


def numbered(number, height=32, width=48):
    """A picture that shows a number in binary: eight stripes, black or white."""
    bits = np.unpackbits(np.array([number], np.uint8)) * 255
    row = bits[np.arange(width) * 8 // width]
    return np.broadcast_to(row[None, :, None], (height, width, 3)).astype(np.uint8)


def number_of(picture):
    """The number that a picture shows, however it was compressed or resized."""
    height, width = picture.shape[:2]
    middles = (np.arange(8) * 2 + 1) * width // 16
    bits = picture[height // 2, middles].mean(axis=-1) > 127
    return int(np.packbits(bits)[0])


def movie(
    times=(),
    *,
    kind="mp4",
    codec="libx264",
    options=(),
    pixels="yuv420p",
    size=(32, 48),
    sound=None,
    sound_codec="aac",
    unit=Fraction(1, 1000),
):
    """The bytes of a video.

    Args:
        times: when each picture is shown, in seconds; picture i shows i mod 256.
        sound: samples [2 S] at RATE; None: none.
        unit: of the times in the file, in seconds.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as made:
        tracks = []
        if len(times):
            video = made.add_stream(codec, rate=25, options=dict(options))
            video.height, video.width = size
            video.pix_fmt, video.codec_context.time_base = pixels, unit
            tracks.append(video)
        if sound is not None:
            audio = made.add_stream(sound_codec, rate=RATE)
            audio.layout = "stereo"
            tracks.append(audio)
        packets = []
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(i % 256, *size), format="rgb24")
            frame.pts, frame.time_base = round(time / unit), unit
            packets += video.encode(frame)
        if len(times):
            packets += video.encode()
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(sound.astype(np.float32), "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            packets += [*audio.encode(frame), *audio.encode()]
        for packet in packets:
            made.mux(packet)
    return file.getvalue()
