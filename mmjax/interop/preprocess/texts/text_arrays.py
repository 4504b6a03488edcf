"""A tokenizer under the settings of its model: texts -> arrays of ids, and back."""

import dataclasses
import functools
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmjax.errors import UserError
from mmjax.interop.preprocess import limits
from mmjax.interop.preprocess.texts import codecs, whisper_text
from mmjax.interop.preprocess.texts.sentence_texts import Sentences
from mmjax.interop.preprocess.texts.tokenizer_files import Settings

PROMPT_LENGTH = "prompt_length"
_NAME = re.compile(r"[\w.-]+")  # what looks like the name of a prompt, not like one

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TextProcessor:
    """Texts -> arrays of ids: call it. Made by
    `mmjax.interop.preprocess.texts.processor.text_processor`.

    Attributes:
        codec: text <-> ids.
        settings: what the checkpoint's files say.
        where: of them, for messages.
        clean: of a text, before its ids. None: it stays as it is.
        sentences: what the files of sentence-transformers say, if there are any.
        vocabulary: rows of the model's table of words. None: not known.
        fixed: whether the model sees padding, so that it reads texts of one length only.
        without_end: whether the ids of ends become 0.
    """

    codec: codecs.Codec
    settings: Settings
    where: str = ""
    clean: Callable[[str], str] | None = None
    sentences: Sentences | None = None
    vocabulary: int | None = None
    fixed: bool = False
    without_end: bool = False

    def __call__(
        self,
        texts: Any,
        *,
        padding: str | None = None,
        max_length: int | None = None,
        truncation: bool = True,
        prompt: str | None = None,
    ) -> dict[str, np.ndarray]:
        """Encodes texts, or pairs of texts.

        Args:
            texts: a sequence of str, or of (str, str).
            padding: "longest" of these texts, or "max_length". None: as the model was trained,
                "max_length" for SigLIP and open_clip, else "longest".
            max_length: the most ids of a text. None: what the checkpoint says.
            truncation: cut what is longer (of a pair, from the longer of the two), which is logged
                once. False: keep all.
            prompt: goes in front of each text (of a pair, of the first): see `prompt_of`.

        Returns:
            "input_ids" int32 [B L]; "attention_mask" int32 [B L], 1 for what is no padding; and
            "token_type_ids" int32 [B L], 1 in the second text, each where the original gives it.
            "prompt_length" int32 [B] where the model's pooling leaves the prompt out.

        Raises:
            UserError: no texts, other types, padding without a token for it or a length, a word
                that the model has no row for, or a prompt that there is not.
        """
        start = self.prompt_of(prompt)
        rows = [
            _with_parts(row, lambda text: self._cleaned(text), start) for row in _checked(texts)
        ]
        padding = padding or ("max_length" if self.settings.full else "longest")
        length = max_length if max_length is not None else self.settings.length
        if padding not in ("longest", "max_length"):
            raise UserError(f"padding must be longest or max_length, not {padding!r}")
        if length is not None and length < 1:
            raise UserError(f"max_length must be positive, not {length}")
        if length is None and padding == "max_length":
            raise UserError("padding to max_length needs max_length: the checkpoint does not say")
        encoded = self._encoded(rows, length if truncation else None)
        limits.check_numbers(encoded)
        longest = max(len(ids) for ids, _ in encoded)
        width = length if padding == "max_length" and length is not None else longest
        if longest > width:
            raise UserError(f"a text has {longest} ids, over max_length {width}: truncate it")
        if self.codec.pad is None and any(len(ids) < width for ids, _ in encoded):
            raise UserError(
                "texts of unequal length need padding, and this tokenizer has no pad_token: name"
                " one in tokenizer_config.json, or pass texts one at a time"
            )
        limits.check_ids(len(encoded), width)
        arrays = np.zeros((3, len(encoded), width), np.int32)
        arrays[0] = self.codec.pad or 0
        for row, (ids, types) in enumerate(encoded):
            first = width - len(ids) if self.settings.side == "left" else 0
            place = slice(first, first + len(ids))
            arrays[:, row, place] = ids, types, np.ones(len(ids))
        if self.without_end:
            arrays[0][arrays[0] == self._number("end")] = 0
        named = dict(zip(("input_ids", "token_type_ids", "attention_mask"), arrays, strict=True))
        found = {name: named[name] for name in self.settings.outputs}
        if self.sentences is not None and self.sentences.excluded:
            found[PROMPT_LENGTH] = np.full(len(rows), self._prompt_length(start), np.int32)
        return found

    def prompt_of(self, prompt: str | None) -> str:
        """What goes in front of texts.

        Args:
            prompt: the name of one of the checkpoint's prompts, or any other text that has a space
                or a mark such as a colon; "" for none. None: what the checkpoint's
                default_prompt_name says.

        Raises:
            UserError: a name that the checkpoint does not have.
        """
        known = {} if self.sentences is None else self.sentences.prompts
        if prompt is None:
            default = None if self.sentences is None else self.sentences.default
            return "" if default is None else known[default]
        if not isinstance(prompt, str):
            raise UserError(f"prompt must be a name or a text, not {prompt!r:.80}")
        if prompt not in known and _NAME.fullmatch(prompt):
            names = ", ".join(map(repr, known)) or "none"
            raise UserError(
                f"no prompt {prompt!r}: the checkpoint has {names}; a text to put in front ends"
                " with a space or a mark"
            )
        return known.get(prompt, prompt)

    def _encoded(self, rows: list[codecs.Text], limit: int | None) -> list[codecs.Row]:
        encoded = self.codec.encode(rows, limit)
        if limit is not None:
            full = [row for row, (ids, _) in zip(rows, encoded, strict=True) if len(ids) >= limit]
            if full and any(len(ids) > limit for ids, _ in self.codec.encode(full, None)):
                _warn_of_cut(self.where, limit)
        for row, (ids, _) in zip(rows, encoded, strict=True):
            if self.vocabulary is not None and max(ids, default=0) >= self.vocabulary:
                word = max(ids)
                raise UserError(
                    f"text {row!r:.60}: {self.codec.decode([word], False)!r} has the id {word}, but"
                    f" the model's words are 0 to {self.vocabulary - 1}: leave it out"
                )
        return encoded

    def _prompt_length(self, prompt: str) -> int:
        """Its ids, without the special one that ends a text."""
        if not prompt:
            return 0
        ((ids, _),) = self.codec.encode([self._cleaned(prompt)], self.settings.length)
        ends = {self._number(role) for role in self.settings.tokens}
        return len(ids) - (len(ids) > 0 and ids[-1] in ends)

    def _number(self, role: str) -> int | None:
        token = self.settings.tokens.get(role)
        known = self.codec.tokenizer is not None and token is not None
        return self.codec.tokenizer.token_to_id(token.content) if known else None

    def decode(
        self, ids: Any, *, skip_special_tokens: bool = True, timestamps: bool = False
    ) -> str:
        """The text of one row of ids.

        Args:
            ids: integers [L].
            skip_special_tokens: leave out those that mark starts, ends, tasks; of Whisper, also a
                prompt before <|startoftranscript|>.
            timestamps: of Whisper, write <|1.08|> (seconds) where the model put the time; else left
                out.

        Raises:
            UserError: not integers of one axis, or timestamps of another model.
        """
        numbers = np.asarray(ids)
        if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise UserError(f"ids must be integers [L], not {numbers.dtype} {list(numbers.shape)}")
        row = [int(number) for number in numbers]
        if row and not 0 <= min(row) <= max(row) < 2**31:
            raise UserError(f"ids cannot be negative or over 2^31: {min(row)} to {max(row)}")
        if self.settings.kind == "whisper":
            return whisper_text.decode(self.codec, row, skip_special_tokens, timestamps)
        if timestamps:
            raise UserError("only the tokenizer of Whisper has timestamps")
        return self.codec.decode(row, skip_special_tokens)

    def _cleaned(self, text: str) -> str:
        text = text.strip() if self.sentences is not None else text
        return text if self.clean is None else self.clean(text)


def _checked(texts: Any) -> list[codecs.Text]:
    if isinstance(texts, str) or not isinstance(texts, Sequence | np.ndarray):
        raise UserError(f"expected a list of texts, got one {type(texts).__name__}: pass [it]")
    if len(texts) == 0:
        raise UserError("expected a list of texts, got an empty one")
    rows = [tuple(text) if isinstance(text, list | tuple) else text for text in texts]
    for row in rows:
        parts = row if isinstance(row, tuple) and len(row) == 2 else (row,)
        if not all(isinstance(part, str) for part in parts):
            raise UserError(f"text must be a string or a pair of strings, not {row!r:.80}")
        if any("\ud800" <= letter <= "\udfff" for part in parts for letter in part):
            raise UserError(f"text is not valid Unicode: {row!a:.80}")
    if len({isinstance(row, tuple) for row in rows}) > 1:
        raise UserError("texts and pairs of texts in one batch: pass them apart")
    return rows


def _with_parts(row: codecs.Text, clean: Callable[[str], str], start: str) -> codecs.Text:
    if isinstance(row, tuple):
        return clean(start + row[0]), clean(row[1])
    return clean(start + row)


@functools.cache  # so that it is said once for a checkpoint, not once a batch
def _warn_of_cut(where: str, limit: int) -> None:
    _logger.warning("%s: a text has more than %d ids: only %d are used", where, limit, limit)
