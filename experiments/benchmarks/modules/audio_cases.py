"""Audio encoders beside their PyTorch counterparts, from waveforms on both sides."""

from collections.abc import Callable

import torch
import transformers
from case import ROWS, SMALL, Case, normal

from mmjax.encoders.audio.ast import SpectrogramTransformer
from mmjax.encoders.audio.whisper import WhisperEncoder
from mmjax.nn.audio.mel import mel_filters

SIZE, HOP = 400, 160  # samples of a window, and from one to the next


def kaldi(wave: torch.Tensor) -> torch.Tensor:
    """Kaldi's filter banks: [B S] -> [B T 128]."""
    x = wave.unfold(1, SIZE, HOP)
    x = x - x.mean(2, keepdim=True)
    x = x - 0.97 * torch.cat([x[..., :1], x[..., :-1]], 2)
    power = torch.fft.rfft(x * torch.hann_window(SIZE, periodic=False), 512).abs() ** 2
    filters = torch.tensor(mel_filters(257, 128, 16_000, lowest=20.0, straight_in="mel")).float()
    return ((power @ filters).clamp(min=torch.finfo().eps).log() + 4.27) / 9.14


def whisper_mel(wave: torch.Tensor) -> torch.Tensor:
    """Whisper's spectrogram: [B S] -> [B 80 T]."""
    spectrum = torch.stft(wave, SIZE, HOP, window=torch.hann_window(SIZE), return_complex=True)
    filters = torch.tensor(mel_filters(201, 80, 16_000, scale="slaney", area=True)).float()
    x = (filters.T @ spectrum[..., :-1].abs() ** 2).clamp(min=1e-10).log10()
    return (torch.maximum(x, x.amax((1, 2), keepdim=True) - 8) + 4) / 4


def ast() -> Case:
    wave = normal(ROWS, 16_000) / 8
    theirs = transformers.ASTModel(transformers.ASTConfig(**SMALL, max_length=98, num_mel_bins=128))
    tensor = torch.tensor(wave)
    return Case(
        "4 x 192, 64 x 1 s",
        SpectrogramTransformer(192, layers=4, heads=4, class_tokens=2),
        (wave,),
        lambda y: y.x,
        theirs,
        lambda m: m(kaldi(tensor)).last_hidden_state,
    )


def whisper() -> Case:
    wave = normal(ROWS, 32_000) / 8
    config = transformers.WhisperConfig(
        d_model=192,
        encoder_layers=4,
        encoder_attention_heads=4,
        encoder_ffn_dim=768,
        max_source_positions=100,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
    )
    tensor = torch.tensor(wave)
    return Case(
        "4 x 192, 64 x 2 s",
        WhisperEncoder(192, layers=4, heads=4),
        (wave,),
        lambda y: y.x,
        transformers.models.whisper.modeling_whisper.WhisperEncoder(config),
        lambda m: m(whisper_mel(tensor)).last_hidden_state,
    )


AUDIO: dict[str, Callable[[], Case]] = {"ast": ast, "whisper": whisper}
