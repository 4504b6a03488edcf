"""Texts -> the ids that a pretrained model expects, and back."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.interop.preprocess import codecs, limits, whisper_text, word_models
from mmjax.interop.preprocess.guarded import ADVICE, guarded
from mmjax.interop.preprocess.tokenizer_files import KINDS, Settings, read_json, read_settings
from mmjax.types import UserError, decoding

# What sentence-transformers calls its own settings, by the model inside.
_SENTENCES = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


@dataclasses.dataclass(frozen=True)
class TextProcessor:
    """Texts -> arrays of ids: call it. Made by `text_processor`.

    Attributes:
        codec: text <-> ids.
        settings: what the checkpoint's files say.
        lower: whether texts are lower-cased first; strip: whether white space around them goes.
    """

    codec: codecs.Codec
    settings: Settings
    lower: bool = False
    strip: bool = False

    def __call__(
        self,
        texts: Any,
        *,
        padding: str | None = None,
        max_length: int | None = None,
        truncation: bool = True,
    ) -> dict[str, np.ndarray]:
        """Encodes texts, or pairs of texts.

        Args:
            texts: a sequence of str, or of (str, str).
            padding: "longest" of these texts, or "max_length". None: as the model was trained,
                "max_length" for SigLIP and open_clip, else "longest".
            max_length: the most ids of a text. None: what the checkpoint says.
            truncation: cut what is longer (of a pair, from the longer of the two). False: keep all.

        Returns:
            "input_ids" int32 [B L]; "attention_mask" int32 [B L], 1 for what is no padding; and
            "token_type_ids" int32 [B L], 1 in the second text, each where the original gives it.

        Raises:
            UserError: no texts, other types, padding without a token for it or a length.
        """
        rows = self._checked(texts)
        padding = padding or ("max_length" if self.settings.full else "longest")
        length = max_length if max_length is not None else self.settings.length
        if padding not in ("longest", "max_length"):
            raise UserError(f"padding must be longest or max_length, not {padding!r}")
        if length is not None and length < 1:
            raise UserError(f"max_length must be positive, not {length}")
        if length is None and padding == "max_length":
            raise UserError("padding to max_length needs max_length: the checkpoint does not say")
        encoded = self.codec.encode(rows, length if truncation else None)
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
            start = width - len(ids) if self.settings.side == "left" else 0
            place = slice(start, start + len(ids))
            arrays[:, row, place] = ids, types, np.ones(len(ids))
        named = dict(zip(("input_ids", "token_type_ids", "attention_mask"), arrays, strict=True))
        return {name: named[name] for name in self.settings.outputs}

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

    def _checked(self, texts: Any) -> list[codecs.Text]:
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
        return [
            tuple(self._cleaned(part) for part in row)
            if isinstance(row, tuple)
            else self._cleaned(row)
            for row in rows
        ]

    def _cleaned(self, text: str) -> str:
        text = text.strip() if self.strip else text
        return text.lower() if self.lower else text


def text_processor(directory: str | Path, config: Mapping[str, Any]) -> TextProcessor:
    """The function from texts to a model's inputs that a checkpoint's files describe.

    Of these layouts the first that is there: tokenizer.json; vocab.txt (BERT's WordPiece);
    vocab.json and merges.txt (byte-level BPE of CLIP, RoBERTa, GPT-2, Whisper);
    bpe_simple_vocab_16e6.txt.gz (open_clip); spiece.model (SigLIP, before all others) or
    sentencepiece.bpe.model (XLM-RoBERTa). The last three need the package ftfy or sentencepiece.
    tokenizer_config.json, special_tokens_map.json, added_tokens.json and the settings of
    sentence-transformers beside them are followed.

    Args:
        directory: the folder of the checkpoint.
        config: the model's config.json, for its model_type, or open_clip_config.json, for the
            length of a text; {} if there is none.

    Raises:
        UserError: no such file, a damaged one, or one that contradicts another.
    """
    with decoding(f"{directory}: its tokenizer cannot be read", ADVICE):
        return _processor(Path(directory), config)


def _processor(folder: Path, config: Mapping[str, Any]) -> TextProcessor:
    settings = read_settings(folder, config)
    layouts = {
        "tokenizer.json": codecs.of_json,
        "vocab.txt": codecs.of_word_pieces,
        "vocab.json": codecs.of_merges,
        "spiece.model": word_models.of_sentence_pieces,
        "sentencepiece.bpe.model": word_models.of_sentence_pieces,
    }
    # The tokenizer.json beside SigLIP's was made for other libraries and gives other ids.
    if settings.kind == "siglip" and (folder / "spiece.model").exists():
        layouts = {"spiece.model": word_models.of_sentence_pieces}
    merges = folder / "bpe_simple_vocab_16e6.txt.gz"
    names = [name for name in layouts if (folder / name).exists()]
    if not names and merges.exists():
        codec, length = word_models.of_clip_merges(merges, config)
        settings = settings._replace(
            kind="open_clip", length=length, full=True, outputs=KINDS["clip"].outputs, side="right"
        )
        return TextProcessor(codec, settings)
    if not names:
        raise UserError(
            f"{folder}: no tokenizer: expected one of {', '.join((*layouts, merges.name))}"
        )
    path = folder / names[0]
    codec = guarded(path, lambda: layouts[names[0]](path, settings))
    return _with_sentence_settings(TextProcessor(codec, settings), folder)


def _with_sentence_settings(processor: TextProcessor, folder: Path) -> TextProcessor:
    """sentence-transformers strips texts, and cuts them at its own length."""
    path = next((folder / name for name in _SENTENCES if (folder / name).exists()), None)
    if path is None:
        return processor
    values = read_json(path)
    length = values.get("max_seq_length")
    if length is not None and (type(length) is not int or length < 1):
        raise UserError(f"{path}: max_seq_length must be a positive number, not {length!r}")
    settings = processor.settings._replace(length=length or processor.settings.length)
    lower = bool(values.get("do_lower_case", False))
    return dataclasses.replace(processor, settings=settings, lower=lower, strip=True)
