"""Texts -> the ids that a pretrained model expects, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmjax.errors import UserError, decoding
from mmjax.interop.preprocess.texts import codecs, word_models
from mmjax.interop.preprocess.texts.guarded import ADVICE, guarded
from mmjax.interop.preprocess.texts.sentence_texts import Sentences, read_sentences
from mmjax.interop.preprocess.texts.text_arrays import TextProcessor
from mmjax.interop.preprocess.texts.tokenizer_files import KINDS, Settings, read_settings
from mmjax.interop.preprocess.texts.trained import Trained, canonical, cleaning, trained

_MERGES = "bpe_simple_vocab_16e6.txt.gz"


def text_processor(
    directory: str | Path,
    config: Mapping[str, Any],
    *,
    architecture: str = "",
    longest: int | None = None,
    vocabulary: int | None = None,
) -> TextProcessor:
    """The function from texts to a model's inputs that a checkpoint's files describe.

    Of these layouts the first that is there: tokenizer.json; vocab.txt (BERT's WordPiece);
    vocab.json and merges.txt (byte-level BPE of CLIP, RoBERTa, GPT-2, Whisper);
    bpe_simple_vocab_16e6.txt.gz (open_clip, before all others where its config names no
    tokenizer); spiece.model (SigLIP, before all others) or sentencepiece.bpe.model (XLM-RoBERTa).
    The last three need the package ftfy or sentencepiece. tokenizer_config.json,
    special_tokens_map.json, added_tokens.json and the settings of sentence-transformers beside them
    are followed; an entry that is not understood is an error. The length of texts, whether they are
    padded to it, and how they are cleaned is as the model was trained, whatever the class of its
    tokenizer (see `mmjax.interop.preprocess.texts.trained`).

    Args:
        directory: the folder of the checkpoint.
        config: the model's config.json, or open_clip_config.json; {} if there is none.
        architecture: of the model, in `mmjax.interop.architectures`; "" if only the files tell.
        longest: how many ids the model takes; longer texts are cut. None: not known.
        vocabulary: rows of its table of words. None: not known.

    Raises:
        UserError: no such file, a damaged one, one that contradicts another, an entry that is not
            understood, or a tokenizer of another model.
    """
    with decoding(f"{directory}: its tokenizer cannot be read", ADVICE):
        return _processor(Path(directory), config, architecture, longest, vocabulary)


def _processor(
    folder: Path,
    config: Mapping[str, Any],
    architecture: str,
    longest: int | None,
    vocabulary: int | None,
) -> TextProcessor:
    how = trained(folder, config, architecture, longest)
    settings = read_settings(folder, config, siglip=how.style == "siglip")
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
    names = [name for name in layouts if (folder / name).exists()]
    sentences = read_sentences(folder)
    if (folder / _MERGES).exists() and (how.simple or not names):
        if how.style != "open_clip":
            clean = cleaning("lower", str(folder / _MERGES))
            how = Trained("open_clip", longest or 77, full=True, clean=clean, simple=True)
        codec = guarded(folder / _MERGES, lambda: word_models.of_clip_merges(folder / _MERGES))
        settings = settings._replace(
            kind="open_clip", outputs=KINDS["clip"].outputs, side="right", truncation_side="right"
        )
    elif names:
        path = folder / names[0]
        codec = guarded(path, lambda: layouts[names[0]](path, settings))
        codec = codec._replace(pad=0) if how.simple else codec
    else:
        raise UserError(f"{folder}: no tokenizer: expected one of {', '.join((*layouts, _MERGES))}")
    clean = how.clean
    if settings.kind == "siglip" and names[0] == "tokenizer.json" and clean is None:
        clean = canonical
    if sentences is not None and sentences.lower:
        codec = codecs.lowered(codec)
    processor = TextProcessor(
        codec,
        _sized(settings, how, sentences, longest),
        str(folder),
        clean,
        sentences,
        vocabulary,
        how.sees,
        how.without_end,
    )
    _check_words(processor)
    return processor


def _sized(
    settings: Settings, how: Trained, sentences: Sentences | None, longest: int | None
) -> Settings:
    """With the length of texts as the model was trained, and at most as it can take."""
    length = settings.length
    if sentences is not None and sentences.length is not None:
        length = sentences.length
    if how.full:
        length = how.length or length or 64
        outputs = ("input_ids",) if how.unmasked else settings.outputs
        settings = settings._replace(full=True, outputs=outputs)
    known = [number for number in (length, longest) if number is not None]
    return settings._replace(length=min(known, default=None))


def _check_words(processor: TextProcessor) -> None:
    """Raises UserError if any text may have an id that is in no row of the model's table."""
    rows, codec = processor.vocabulary, processor.codec
    if rows is None:
        return
    always = [number for ids, _ in codec.encode([""], None) for number in ids]
    highest = max([codec.words - 1, codec.pad or 0, *always])
    if highest >= rows:
        raise UserError(
            f"{processor.where}: its tokenizer gives ids up to {highest}, but the model's words are"
            f" 0 to {rows - 1}: the tokenizer is of another model; put the right one there"
        )
