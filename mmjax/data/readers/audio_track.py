"""The sound of a video, or of a file that only FFmpeg knows, decoded with PyAV."""

from typing import Any

import numpy as np
from jaxtyping import Float32

from mmjax.data.readers import audio_limits
from mmjax.data.readers.container import container, stream_of
from mmjax.errors import UserError

PIXELS = 2**25  # of the pictures beside it, of which none is decoded
LEAD = 0.5  # seconds that are decoded before the start, since frames of sound build on those before


def read(
    file: Any, name: str, start: float, duration: float | None
) -> tuple[Float32[np.ndarray, " S"], int]:
    """The samples of the first audio track, its channels averaged, and its rate in Hz.

    Its first sample is at 0 s.

    Args:
        file: open for reading bytes, at its beginning.
        name: for messages.
        start, duration: of the part that is read, in seconds; None: to the end.

    Raises:
        UserError: no audio track, too many samples, a start behind the end, or PyAV is missing.
        av.FFmpegError, ValueError: damaged.
    """
    with container(file, name, PIXELS) as found:
        from av.audio.resampler import AudioResampler

        stream = stream_of(found, "audio", name, PIXELS)
        rate = stream.codec_context.sample_rate
        if not rate or not stream.codec_context.channels:
            raise UserError(f"{name}: its audio track has no sample rate or channels; convert it")
        audio_limits.check_rate(name, rate)
        begin, wanted = round(start * rate), audio_limits.most(rate) + 1
        if duration is not None:
            wanted = min(wanted, max(1, round(duration * rate)))
        origin = stream.start_time or 0
        if start > LEAD:
            found.seek(origin + round((start - LEAD) / stream.time_base), stream=stream)
        to_float = AudioResampler(format="flt", layout=None, rate=None)
        blocks, count, place = [], 0, None
        for frame in found.decode(stream):
            if place is None:  # samples before this frame; behind a seek only its time says it
                late = frame.pts is not None and start > LEAD
                place = round((frame.pts - origin) * frame.time_base * rate) if late else 0
            for even in to_float.resample(frame):
                channels = len(even.layout.channels)
                block = even.to_ndarray().reshape(-1, channels).mean(axis=1)
                skipped = max(0, begin - place)
                place += len(block)
                block = block[skipped : skipped + wanted - count]
                count += len(block)
                blocks.append(block)
            audio_limits.check_count(name, count, rate)
            if count >= wanted:
                break
    if not count:
        audio_limits.check_start(name, start, (place or 0) / rate)
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    return np.ascontiguousarray(samples, np.float32), rate
