"""From the ids that Whisper's decoder gives to text, with or without the times it put between."""

import re
from collections.abc import Sequence

from mmjax.errors import UserError
from mmjax.interop.preprocess.texts.codecs import Codec

_STEP, _WINDOW = 0.02, 30.0  # seconds: one timestamp, and what the model takes at once
_TIME = re.compile(r"<\|\d+\.\d+\|>")


def decode(codec: Codec, ids: Sequence[int], skip_special_tokens: bool, timestamps: bool) -> str:
    """The text of ids (Radford et al. 2022, section 2.3).

    Args:
        codec: of a Whisper tokenizer.
        ids: of one recording; where its times go back, another window of 30 s has begun, and later
            times are counted from there.
        skip_special_tokens: leave out the task, the language, start and end, and a prompt.
        timestamps: write times as <|1.08|>, in seconds from the beginning; else they are left out.

    Raises:
        UserError: the vocabulary has no <|notimestamps|>, after which the times come.
    """
    token = codec.tokenizer.token_to_id if codec.tokenizer else None
    last = token("<|notimestamps|>") if token else None
    if token is None or last is None:
        raise UserError("this tokenizer has no <|notimestamps|>, so it is not Whisper's")
    if skip_special_tokens and ids and ids[0] == token("<|startofprev|>"):
        start = token("<|startoftranscript|>")
        ids = ids[ids.index(start) :] if start in ids else []
    if not timestamps:
        return _TIME.sub("", codec.decode(ids, skip_special_tokens))
    parts: list[str | list[int]] = [[]]
    latest = before = passed = 0.0
    for place, number in enumerate(ids):
        if number <= last:
            parts[-1].append(number)
            continue
        time = (number - last - 1) * _STEP
        if time < latest:
            closed = place >= 2 and ids[place - 1] > last and ids[place - 2] > last
            if closed or place < 2:
                latest = before
                passed += before
                parts = parts[:-2]
            else:
                passed += _WINDOW
        before, latest = latest, time
        parts += [f"<|{time + passed:.2f}|>", []]
    return "".join(
        part if isinstance(part, str) else codec.decode(part, skip_special_tokens) for part in parts
    )
