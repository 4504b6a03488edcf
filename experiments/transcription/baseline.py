"""A linear classifier of single digits that somebody else has cut out of the numbers.

python experiments/transcription/baseline.py RECORDINGS

Each recording's log-mel spectrogram (40 bins) is stretched to 20 frames; logistic regression says
which digit it is. It needs no alignment, since it is told where each digit begins and ends, and it
cannot miss or add one: its share of wrong digits is its word error rate.
"""

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmjax.data.datasets.spoken_numbers import RATE, TAKES, find_folder, read_all
from mmjax.nn.audio.spectrogram import log_mel

FRAMES, BINS = 20, 40


def features(pieces: list[np.ndarray]) -> np.ndarray:
    """Spectrograms [n FRAMES * BINS], stretched in time."""
    samples = max(map(len, pieces))
    padded = np.stack([np.pad(piece, (0, samples - len(piece))) for piece in pieces])
    mask = np.arange(samples) < np.array([len(piece) for piece in pieces])[:, None]
    x, real = log_mel(
        jnp.asarray(padded), jnp.asarray(mask), convention="whisper", sample_rate=RATE, bins=BINS
    )
    rows = []
    for frames, there in zip(np.asarray(x), np.asarray(real), strict=True):
        kept = frames[there]
        places = np.linspace(0, len(kept) - 1, FRAMES)
        rows.append(kept[np.round(places).astype(int)].ravel())
    return np.stack(rows)


def main() -> None:
    """Prints the word error rate for known voices and for the one that was left out, by voice."""
    speakers, takes, source = read_all(find_folder(Path(), sys.argv[1]))
    x, y = features(source.pieces), source.digits
    for number, voice in enumerate(speakers):
        new = source.owners == number
        train = ~new & np.isin(takes, TAKES["train"])
        known = ~new & np.isin(takes, TAKES["test"])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        model.fit(x[train], y[train])
        wrong = [np.mean(model.predict(x[rows]) != y[rows]) for rows in (known, new)]
        print(f"{voice}: known voices {wrong[0]:.3f}, new voice {wrong[1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
