"""Codecs whose library may fail at any time: each of its failures comes out as one line."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

from mmjax.errors import UserError, decoding
from mmjax.interop.preprocess.texts.codecs import Codec, Row, Text

MAX_BYTES = 2**26  # of an unpacked vocabulary
ADVICE = "fetch the files of the tokenizer again"


def guarded(path: Path, make: Callable[[], Codec]) -> Codec:
    """The codec that `make` reads from a file; it raises UserError for whatever its library does.

    Some vocabularies are found wanting only by a text, and some make a library in Rust panic.

    Raises:
        UserError: `make` fails in any way.
    """
    with decoding(f"{path}: no tokenizer", ADVICE):
        codec = make()

    def encode(texts: Sequence[Text], limit: int | None) -> list[Row]:
        with decoding(f"{path}: this tokenizer cannot encode the texts", ADVICE):
            return codec.encode(texts, limit)

    def decode(ids: Sequence[int], skip_special_tokens: bool) -> str:
        with decoding(f"{path}: this tokenizer cannot decode the ids", ADVICE):
            return codec.decode(ids, skip_special_tokens)

    return codec._replace(encode=encode, decode=decode)


def unpacked(path: Path) -> str:
    """The text of a .gz file.

    Raises:
        UserError: it is damaged, or of more than MAX_BYTES.
    """
    with decoding(f"{path}: cannot be read", "fetch the file again"), gzip.open(path) as file:
        data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UserError(f"{path}: unpacks to over {MAX_BYTES} bytes: fetch the file again")
        return data.decode()
