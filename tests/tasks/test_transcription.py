"""Writing: what is read off, how probable it is, what is asked of all texts, what is too short."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.losses.targets.sequence import ctc
from mmjax.metrics.text import bleu, character_error_rate, word_error_rate
from mmjax.tasks.keyed import KeyedFunction
from mmjax.tasks.task import Question
from mmjax.tasks.transcription import TRANSCRIPTION, spell, transcription
from mmjax.train import sharding
from mmjax.train.evaluate import evaluate
from mmjax.train.step import eval_step
from tests.metrics.test_text import edits

ALPHABET = ("", " ", "a", "b", "c")
READS = {
    name: TRANSCRIPTION.given("characters", "transcript")[name]
    for name in ("label_mask", "labels", "logit_mask", "logits")
}
TEXTS = {"references": "batch/targets/transcript", "hypotheses": "prediction/written"}
METRICS = {
    "word_error_rate": word_error_rate,
    "character_error_rate": character_error_rate,
    "bleu": bleu,
}
TASK = transcription(
    Question(
        modalities=("frames",),
        losses={"ctc": KeyedFunction(ctc, READS, "config.losses")},
        metrics={},
        dataset_metrics={
            name: KeyedFunction(f, TEXTS, "config.metrics") for name, f in METRICS.items()
        },
        vocabulary=ALPHABET,
        name="characters",
        target="transcript",
    )
)
SLICES = ("even", "odd")


class Given(nn.Module):
    """Puts out what it is given: frames are logits."""

    @nn.compact
    def __call__(self, inputs, **_):
        frames = inputs["frames"]
        return {"characters": frames.value, "characters_mask": frames.mask}


def make_batch(rows=21, frames=12, length=6, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, length + 1, rows)
    there = np.arange(length) < lengths[:, None]
    return {
        "frames": rng.normal(size=(rows, frames, len(ALPHABET))).astype(np.float32),
        "frames_mask": np.arange(frames) < rng.integers(0, frames + 1, (rows, 1)),
        "targets/transcript": np.where(there, rng.integers(1, 5, (rows, length)), 0).astype(
            np.int32
        ),
        "targets/transcript_mask": there,
        "slice": (np.arange(rows) % 2).astype(np.int32),
        "_mask": np.ones(rows, bool),
    }


def cut(full, sizes):
    """Batches of these many examples, padded to the largest with what must not count."""
    width, start = max(sizes), 0
    for size in sizes:
        part = {name: rows[start : start + size] for name, rows in full.items()}
        start += size
        padded = {
            name: np.concatenate([rows, np.ones((width - size, *rows.shape[1:]), rows.dtype)])
            for name, rows in part.items()
        }
        yield padded | {"_mask": np.arange(width) < size}


def run(batches, put=jax.device_put, **options):
    step = functools.partial(eval_step, model=Given(), tasks={"characters": TASK}, slices=SLICES)
    return evaluate(
        jax.jit(step, **options),
        {},
        batches,
        put,
        split="test",
        tasks={"characters": TASK},
        slices=SLICES,
        tuned={},
    )


def texts_of(batch):
    """The references and what is written, by hand."""
    references = ["".join(ALPHABET[i] for i in row) for row in batch["targets/transcript"]]
    written = []
    for logits, mask in zip(batch["frames"], batch["frames_mask"], strict=True):
        path = itertools.groupby(logits[mask].argmax(axis=1).tolist())
        written.append("".join(ALPHABET[i] for i, _ in path))
    return references, written


def rates(references, written):
    pairs = list(zip(references, written, strict=True))
    words = sum(edits(r.split(), w.split()) for r, w in pairs)
    characters = sum(edits(r.strip(), w.strip()) for r, w in pairs)
    return (
        words / sum(len(r.split()) for r in references),
        characters / sum(len(r.strip()) for r in references),
    )


@pytest.mark.parametrize("sizes", [[21], [8, 8, 5], [8, 8, 4, 1]])
def test_errors_are_summed_over_the_whole_set_however_it_is_cut(sizes):
    full = make_batch()
    references, written = texts_of(full)
    got = run(list(cut(full, sizes)))
    words, characters = rates(references, written)
    assert got.metrics["word_error_rate"] == pytest.approx(words, abs=1e-12)
    assert got.metrics["character_error_rate"] == pytest.approx(characters, abs=1e-12)
    assert got.metrics["bleu"] == pytest.approx(bleu(references, written))
    odd = rates(references[1::2], written[1::2])
    assert got.metrics["word_error_rate/odd"] == pytest.approx(odd[0], abs=1e-12)
    assert got.counts["word_error_rate/odd"] == 10
    # Not the mean over rows.
    means = [word_error_rate([r], [w]) for r, w in zip(references, written, strict=True)]
    assert abs(np.mean(means) - words) > 0.01


def test_eight_devices_give_the_metrics_of_one():
    batch = make_batch(13)
    padded = {
        name: np.concatenate([rows, np.ones((3, *rows.shape[1:]), rows.dtype)])
        for name, rows in batch.items()
    }
    padded["_mask"] = np.arange(16) < 13
    one = run([padded])
    mesh = sharding.make_mesh(data=8, fsdp=1, tensor=1, rows=(16,))
    put = functools.partial(sharding.put_batch, mesh=mesh)
    eight = run([padded], put, out_shardings=sharding.replicated(mesh))
    assert eight.metrics == pytest.approx(one.metrics, rel=1e-6)
    assert eight.counts == one.counts


def test_the_probability_is_that_of_all_paths_of_the_written_text():
    batch = make_batch(rows=12, frames=4)
    logits, mask = batch["frames"], batch["frames_mask"]
    outputs = {"characters": jnp.asarray(logits), "characters_mask": jnp.asarray(mask)}
    predicted = TASK.predict(outputs)
    assert predicted["written"].dtype == jnp.int32
    texts = spell(np.asarray(predicted["written"]), ALPHABET)
    assert texts.tolist() == texts_of(batch)[1]
    p = np.asarray(jax.nn.softmax(logits), np.float64)
    for row, text, probability in zip(range(12), texts, predicted["probability"], strict=True):
        frames = np.flatnonzero(mask[row])
        total = 0.0
        for path in itertools.product(range(len(ALPHABET)), repeat=len(frames)):
            if "".join(ALPHABET[i] for i, _ in itertools.groupby(path)) == text:
                total += np.prod([p[row, frame, i] for frame, i in zip(frames, path, strict=True)])
        assert float(probability) == pytest.approx(total, rel=1e-5)


def test_what_has_too_few_tokens_is_counted_and_teaches_nothing():
    batch = make_batch(rows=4, frames=4, length=3)
    batch["targets/transcript"][:] = [[2, 2, 3], [2, 3, 4], [2, 2, 0], [0, 0, 0]]
    batch["targets/transcript_mask"] = batch["targets/transcript"] > 0
    batch["frames_mask"] = np.arange(4) < np.array([3, 3, 3, 0])[:, None]  # "aab" takes four
    batch = jax.tree.map(jnp.asarray, batch)

    def loss(logits):
        outputs = {"characters": logits, "characters_mask": batch["frames_mask"]}
        return TASK.losses(outputs, batch)["ctc"].value, TASK.metrics(outputs, batch)

    (values, metrics), gradient = (
        loss(batch["frames"]),
        jax.jacrev(lambda x: loss(x)[0])(batch["frames"]),
    )
    assert metrics["too_short"].value.tolist() == [1, 0, 0, 0]
    assert metrics["too_short"].mask.all()
    assert values[0] == 0 < values[1]
    assert values[3] == 0  # nothing to write and nothing to write it with
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[0].any()
    assert np.asarray(gradient)[1, 1].any()


def test_texts_have_no_blanks():
    rows = np.array([[2, 1, 3, 0], [0, 0, 0, 0]])
    assert spell(rows, ALPHABET).tolist() == ["a b", ""]
    assert spell(rows[:0], ALPHABET).shape == (0,)
    assert spell(np.array([[2, 2]]), ALPHABET).tolist() == ["aa"]
