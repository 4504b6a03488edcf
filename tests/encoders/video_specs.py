"""Video encoders under the contract tests."""

import jax.numpy as jnp
import numpy as np

from mmjax.encoders.video.cnn3d import Cnn3d
from mmjax.encoders.video.frame_encoder import FrameEncoder
from mmjax.encoders.video.video_mae import VideoMae
from mmjax.encoders.video.vivit import Vivit
from tests.encoders.spec import ROWS, Spec, shapes

LARGE_VIDEO = shapes(jnp.uint8, 256, 32, 224, 224, 3, mask=(256, 32))


def video(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips, and which frames are real: all, the first three, none, and some with gaps."""
    value = np.random.default_rng(seed).integers(0, 256, (ROWS, 4, 16, 16, 3), np.uint8)
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
    return value, mask


SPECS = {
    "vivit": Spec(Vivit, video, LARGE_VIDEO, {"layers": 1}, {"layers": 24, "patch_size": 16}),
    "vivit_factorised": Spec(
        Vivit,
        video,
        LARGE_VIDEO,
        {"model": "factorised", "layers": 1, "temporal_layers": 1},
        {"layers": 24, "patch_size": 16},
    ),
    "vivit_mean": Spec(
        Vivit, video, LARGE_VIDEO, {"layers": 1, "summary": "mean", "output": "summary"}
    ),
    "video_mae": Spec(VideoMae, video, LARGE_VIDEO, {"layers": 1}, {"layers": 24}),
    "video_mae_mean": Spec(VideoMae, video, LARGE_VIDEO, {"layers": 1, "output": "mean"}),
    "cnn3d": Spec(Cnn3d, video, LARGE_VIDEO, {"channels": (16, 32)}),
    "cnn3d_grid": Spec(
        Cnn3d,
        video,
        LARGE_VIDEO,
        {"channels": (16, 32), "time_strides": (1, 2), "norm": "none", "output": "grid"},
    ),
    "cnn3d_mean": Spec(
        Cnn3d, video, LARGE_VIDEO, {"channels": (16, 32), "norm": "layer", "output": "mean"}
    ),
    "frames": Spec(FrameEncoder, video, LARGE_VIDEO),
    "frames_lstm": Spec(
        FrameEncoder,
        video,
        LARGE_VIDEO,
        {
            "frame": "vit",
            "frame_options": {"layers": 1},
            "temporal": "lstm",
            "output": "last",
        },
    ),
    "frames_gru": Spec(
        FrameEncoder, video, LARGE_VIDEO, {"frame_options": {"channels": (16,)}, "temporal": "gru"}
    ),
    "frames_mean": Spec(
        FrameEncoder, video, LARGE_VIDEO, {"frame_options": {"channels": (16,)}, "temporal": "mean"}
    ),
    "frames_max": Spec(
        FrameEncoder, video, LARGE_VIDEO, {"frame_options": {"channels": (16,)}, "temporal": "max"}
    ),
}
