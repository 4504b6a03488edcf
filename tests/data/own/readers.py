"""Readers as the factory makes them, of small sizes."""

import functools
import io
import wave

import av
import numpy as np
import PIL.Image

from mmjax.data.readers import by_kind, lengths
from mmjax.types import Input


def read_picture(values, side=4):
    pixels = np.zeros((len(values), side, side, 3), np.uint8)
    for row, value in zip(pixels, values, strict=True):
        if value is not None:
            value = io.BytesIO(value) if isinstance(value, bytes) else value
            with PIL.Image.open(value) as image:
                row[:] = np.asarray(image.convert("RGB").resize((side, side)))
    return Input(pixels, np.array([value is not None for value in values]))


def encode(texts):
    ids = np.zeros((len(texts), 6), np.int32)
    for row, text in zip(ids, texts, strict=True):
        codes = [ord(letter) for letter in text[:6]]
        row[: len(codes)] = codes
    return ids, ids > 0


def make(own):
    """A reader for each input."""
    found = {}
    for name, wanted in own.inputs.items():
        size = 0 if wanted.features is None else len(wanted.features)
        scale = own.scales.get(name)
        array = functools.partial(
            by_kind.read_arrays, name=name, dtype=np.float32, masked_axes=1, scale=scale
        )
        steps = functools.partial(lengths.read_steps, name=name, dtype=np.float32, scale=scale)
        found[name] = {
            "image": lambda: read_picture,
            "text": lambda: functools.partial(by_kind.read_texts, encode=encode),
            "vector": lambda a=array, n=size: functools.partial(a, shape=(n or 3,)),
            "series": lambda s=steps: functools.partial(s, shape=(5, 2)),
            "audio": lambda n=name: functools.partial(
                lengths.read_sounds, name=n, samples=20, rate=8000
            ),
        }[wanted.kind]()
    return found


def png(value):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (4, 4), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def mp4(pictures, width=16, height=16):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=4)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p"
        for _ in range(pictures):
            frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), "rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return buffer.getvalue()


def wav(samples):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.full(samples, 1000, "<i2").tobytes())
    return buffer.getvalue()
