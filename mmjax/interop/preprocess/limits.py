"""What a checkpoint's settings may ask for, so that none of them fills the memory.

The largest settings of published models are a tenth of these or less. At the limits one picture or
sound takes a gigabyte for a moment.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmjax.errors import UserError

PIXELS = 2**25  # of one picture; 0.4 GiB as float32 in three channels
WINDOW = 2**15  # samples of one Fourier transform
HOPS = 64  # how many of them a window may span
BINS = 2**10  # mel filters
NUMBERS = 2**25  # frames times the samples of a window, or times filters
IDS = 2**26  # of the texts of a call
SAMPLES = 2**24  # of one sound at the model's rate


def check_picture(height: int, width: int) -> None:
    """Raises UserError for a picture of more than PIXELS, such as a crop that settings ask for."""
    if height * width > PIXELS:
        raise UserError(
            f"pictures of {height} x {width} pixels, as this processor is set, are over {PIXELS}:"
            " is its preprocessor_config.json damaged?"
        )


def check_sound(values: Mapping[str, Any], name: str) -> None:
    """Raises UserError for spectrograms that would fill the memory.

    Args:
        values: all settings of a feature extractor.
        name: of its class, for messages.
    """
    size = values.get("n_fft", values.get("fft_window_size", 512))
    bins = values.get("num_mel_bins", values["feature_size"])
    hop, rate = values.get("hop_length", 160), values["sampling_rate"]
    seconds = values.get("chunk_length", values.get("max_length_s", 0))
    frames = values.get("max_length", seconds * rate / hop)
    found = {
        "samples of a window": (size, min(WINDOW, HOPS * hop)),
        "mel filters": (bins, BINS),
        "samples of a sound": (seconds * rate, SAMPLES),
        "frames times samples of a window": (frames * size, NUMBERS),
        "frames times mel filters": (frames * bins, NUMBERS),
    }
    for what, (count, most) in found.items():
        if count > most:
            raise UserError(
                f"{name}: its settings come to {count:g} {what}, over {most}: is its"
                " preprocessor_config.json damaged?"
            )


def check_ids(rows: int, width: int) -> None:
    """Raises UserError for more than IDS numbers, such as texts padded to a length in settings."""
    if rows * width > IDS:
        raise UserError(
            f"{rows} texts of {width} ids each are over {IDS} numbers: give a smaller max_length,"
            " or fewer texts at a time"
        )


def check_numbers(rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> None:
    """Raises UserError for an id that int32 cannot hold, which a damaged vocabulary may give."""
    most = max((number for row in rows for ids in row for number in ids), default=0)
    if most >= 2**31:
        raise UserError(f"a word has the number {most}: fetch the files of the tokenizer again")
