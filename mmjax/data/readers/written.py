"""Numbers as they are written: a list in JSON, or the path of a .npy file."""

import io
import json
import os
from typing import Any

import numpy as np

from mmjax.data.readers.content import read_whole
from mmjax.errors import UserError, decoding


def is_json(text: str) -> bool:
    """Whether a text is to be a list or an object in JSON; else it is a path."""
    return text.lstrip()[:1] in ("[", "{")


def from_text(value: Any, name: str) -> Any:
    """What a text stands for: its JSON, or the array of the .npy file that it names.

    Args:
        value: all but texts and paths come back as they are.
        name: of the modality, for messages.

    Raises:
        UserError: no JSON, no such file, or none that numpy can read.
    """
    if not isinstance(value, (str, os.PathLike)):
        return value
    text = os.fspath(value)
    if is_json(text):
        with decoding(f"{name}: {text[:60]!r} is no JSON", "write numbers such as [1.5, null, 2]"):
            return json.loads(text)
    if not text.lower().endswith(".npy"):
        raise UserError(f"{name}: {text[:60]!r} is neither JSON, such as [1.5, 2], nor a .npy file")
    with decoding(f"{name}: {text} cannot be read", "write it with numpy.save"):
        return np.load(io.BytesIO(read_whole(text, f"{name}: {text}")), allow_pickle=False)
