"""Audio encoders under the contract tests."""

import jax.numpy as jnp
import numpy as np

from mmjax.encoders.audio.ast import SpectrogramTransformer
from mmjax.encoders.audio.autoencoder import AudioAutoencoder
from mmjax.encoders.audio.recurrent import AudioRecurrent
from mmjax.encoders.audio.resnet import SpectrogramResNet
from mmjax.encoders.audio.whisper import WhisperEncoder
from tests.encoders.spec import ROWS, Spec, shapes

SAMPLES = 4560  # 27 frames with whole windows only, 28 centred ones: 2 patches of 16 every 10
LARGE_AUDIO = shapes(jnp.float32, 256, 480_000, mask=(256, 480_000))


def audio(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms, and which samples are real: all, a prefix, none, all but a gap."""
    value = np.random.default_rng(seed).normal(0, 0.1, (ROWS, SAMPLES)).astype(np.float32)
    mask = np.ones((ROWS, SAMPLES), bool)
    mask[1, 1500:] = False
    mask[2] = False
    mask[3, 600:3000] = False
    return value, mask


SPECS = {
    "ast": Spec(SpectrogramTransformer, audio, LARGE_AUDIO, {"layers": 1}, {"layers": 12}),
    "ast_class_tokens": Spec(
        SpectrogramTransformer,
        audio,
        LARGE_AUDIO,
        {"layers": 1, "class_tokens": 2, "patch_size": 8, "stride": 8, "convention": "plain"},
    ),
    "whisper": Spec(WhisperEncoder, audio, LARGE_AUDIO, {"layers": 1}, {"layers": 24, "heads": 16}),
    "whisper_projected": Spec(
        WhisperEncoder, audio, LARGE_AUDIO, {"size": "tiny", "layers": 1}, {"size": "large"}
    ),
    "spectrogram_resnet": Spec(
        SpectrogramResNet,
        audio,
        LARGE_AUDIO,
        {"depth": 10, "channels": 16, "mel_bins": 32},
        {"depth": 50, "channels": 64, "mel_bins": 128},
    ),
    "spectrogram_resnet_group": Spec(
        SpectrogramResNet,
        audio,
        LARGE_AUDIO,
        {"depth": 10, "channels": 16, "mel_bins": 32, "norm": "group", "stem": "small"},
    ),
    "audio_recurrent": Spec(AudioRecurrent, audio, LARGE_AUDIO),
    "audio_recurrent_last": Spec(
        AudioRecurrent,
        audio,
        LARGE_AUDIO,
        {"cell": "gru", "layers": 2, "bidirectional": True, "output": "last"},
    ),
    "audio_autoencoder": Spec(AudioAutoencoder, audio, LARGE_AUDIO, {"channels": (32, 32)}),
}
