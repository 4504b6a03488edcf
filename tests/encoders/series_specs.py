"""Encoders of time series under the contract tests."""

import jax.numpy as jnp
import numpy as np

from mmjax.encoders.series.mlp import SeriesMlp
from mmjax.encoders.series.recurrent import SeriesRecurrent
from mmjax.encoders.series.transformer import SeriesTransformer
from tests.encoders.spec import ROWS, Spec, shapes

LARGE_SERIES = shapes(jnp.float32, 4096, 4000, 64, mask=(4096, 4000))


def series(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps of three features: a full row, a padded one, an empty one, one with gaps."""
    value = np.random.default_rng(seed).normal(size=(ROWS, 7, 3)).astype(np.float32)
    mask = np.array(
        [
            [1, 1, 1, 1, 1, 1, 1],
            [1, 1, 1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0],
            [0, 1, 0, 0, 0, 1, 1],
        ],
        bool,
    )
    return value, mask


STANDARD = {"feature_mean": 0.5, "feature_std": 2.0}
SPECS = {
    "series_mlp": Spec(SeriesMlp, series, LARGE_SERIES, {"hidden": (32, 16), **STANDARD}),
    "series_mlp_mean": Spec(SeriesMlp, series, LARGE_SERIES, {"hidden": (32,), "output": "mean"}),
    "series_transformer": Spec(
        SeriesTransformer, series, LARGE_SERIES, {"layers": 1, "patch": 2, **STANDARD}
    ),
    "series_rotary": Spec(
        SeriesTransformer,
        series,
        LARGE_SERIES,
        {"layers": 1, "patch": 3, "positions": "rotary", "output": "mean"},
        {"layers": 24, "heads": 16, "patch": 16, "remat": True},
    ),
    "series_sincos": Spec(
        SeriesTransformer, series, LARGE_SERIES, {"layers": 1, "patch": 2, "positions": "sincos"}
    ),
    "series_lstm": Spec(SeriesRecurrent, series, LARGE_SERIES, STANDARD),
    "series_gru_last": Spec(
        SeriesRecurrent,
        series,
        LARGE_SERIES,
        {"cell": "gru", "bidirectional": True, "output": "last", "layers": 2},
    ),
}
