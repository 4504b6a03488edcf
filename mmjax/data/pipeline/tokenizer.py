"""A word-level tokenizer: lower-cased words and punctuation marks, by the `tokenizers` library."""

import functools
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from mmjax.errors import UserError, decoding

PAD, UNKNOWN = "[PAD]", "[UNK]"
PAD_ID, UNKNOWN_ID = 0, 1
MAX_WORDS = 2**31  # of a vocabulary

_logger = logging.getLogger(__name__)


def train(texts: Iterable[str]) -> Tokenizer:
    """Builds a tokenizer that knows every word of `texts`.

    Ids: 0 for padding, 1 for unknown words, then the words by falling frequency, equally frequent
    ones in alphabetical order; so the same texts in any order give the same ids.
    """
    scratch = _word_level({PAD: PAD_ID, UNKNOWN: UNKNOWN_ID})
    # It has no word that is special, and all others whatever their number.
    trainer = trainers.WordLevelTrainer(vocab_size=MAX_WORDS, min_frequency=0, show_progress=False)
    scratch.train_from_iterator(texts, trainer)
    return _word_level({word: index for index, word in enumerate((PAD, UNKNOWN, *words(scratch)))})


def encode(
    tokenizer: Tokenizer, texts: Sequence[str], length: int
) -> tuple[Int32[np.ndarray, "n length"], Bool[np.ndarray, "n length"]]:
    """Encodes `texts` to `length` ids each and a mask that is True where a word is.

    Longer texts are cut, and a warning is logged once; an empty text gives an all-False mask.
    """
    # Batches repeat questions, and encoding one costs more than looking it up.
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    ids = np.full((len(rows), length), PAD_ID, np.int32)
    mask = np.zeros((len(rows), length), bool)
    for row, encoding in enumerate(tokenizer.encode_batch_fast(list(rows))):
        if len(encoding.ids) > length:
            _warn_of_cut(length)
        words = encoding.ids[:length]
        ids[row, : len(words)] = words
        mask[row, : len(words)] = True
    order = np.array([rows[text] for text in texts], np.intp)
    return ids[order], mask[order]


def words(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The vocabulary, by id."""
    vocabulary = tokenizer.get_vocab()
    return tuple(sorted(vocabulary, key=vocabulary.__getitem__))


def save(tokenizer: Tokenizer, path: str | Path) -> None:
    """Writes `tokenizer` to `path` as one JSON file, whole or not at all.

    Raises:
        OSError: `path` cannot be written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    partial.replace(path)


def load(path: str | Path) -> Tokenizer:
    """Reads what `save` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    advice = "pass a workdir that a training run has written"
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"tokenizer {path}: {error.strerror}; {advice}") from error
    with decoding(f"tokenizer {path}: damaged", advice):
        tokenizer = Tokenizer.from_str(text.decode())
        tokenizer.encode_batch_fast(["a", UNKNOWN])  # some are found wanting only by a text
    if (tokenizer.token_to_id(PAD), tokenizer.token_to_id(UNKNOWN)) != (PAD_ID, UNKNOWN_ID):
        raise UserError(f"tokenizer {path}: {PAD} and {UNKNOWN} must have ids 0 and 1; {advice}")
    return tokenizer


def _word_level(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    return tokenizer


@functools.cache  # so that it is said once for a length, not once a batch
def _warn_of_cut(length: int) -> None:
    _logger.warning("a text has more than %d words: only the first %d are used", length, length)
