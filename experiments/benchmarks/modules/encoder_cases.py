"""Encoders and their layers beside their PyTorch counterparts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
import transformers
from audio_cases import AUDIO
from case import ROWS, SMALL, Case, normal

from mmjax.encoders.image.mobilenet import MobileNetV2
from mmjax.encoders.image.resnet import ResNet
from mmjax.encoders.image.vit import Vit
from mmjax.encoders.text.cnn import TextCnn
from mmjax.encoders.text.transformer import TextTransformer
from mmjax.encoders.video.cnn3d import Cnn3d
from mmjax.encoders.video.video_mae import VideoMae
from mmjax.encoders.video.vivit import Vivit
from mmjax.nn.layers.recurrent import Recurrent
from mmjax.nn.layers.transformer import Transformer


def transformer() -> Case:
    x = normal(ROWS, 80, 192)
    layer = torch.nn.TransformerEncoderLayer(
        192, 4, 768, 0.0, "gelu", batch_first=True, norm_first=True
    )
    theirs = torch.nn.TransformerEncoder(layer, 4, torch.nn.LayerNorm(192))
    ours = Transformer(4, 4, activation="gelu_exact")
    tensor = torch.tensor(x)
    return Case("4 x 192, 64 x 80", ours, (x,), lambda y: y, theirs, lambda m: m(tensor))


def recurrent(cell: str) -> Callable[[], Case]:
    def case() -> Case:
        x = normal(ROWS, 64, 128)
        theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](128, 128, batch_first=True)
        tensor, mask = torch.tensor(x), np.ones((ROWS, 64), bool)
        ours = Recurrent(128, cell)
        return Case("128, 64 x 64", ours, (x, mask), lambda y: y[0], theirs, lambda m: m(tensor)[0])

    return case


def images(size: int) -> tuple[np.ndarray, torch.Tensor]:
    """The same pictures for both: uint8 channels last, float channels first."""
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, size, size, 3), np.uint8)
    return pixels, torch.tensor(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def vit() -> Case:
    pixels, tensor = images(64)
    config = transformers.ViTConfig(
        **(SMALL | {"num_attention_heads": 3}),
        image_size=64,
        patch_size=8,
    )
    theirs = transformers.ViTModel(config, add_pooling_layer=False)
    ours = Vit(192, 8, layers=4, heads=3, class_token=True, output="all")
    return Case(
        "4 x 192, 64 x 64 px",
        ours,
        (pixels,),
        lambda y: y.x,
        theirs,
        lambda m: m(tensor).last_hidden_state,
    )


def convolutional(ours: Any, theirs: Callable[[], torch.nn.Module]) -> Callable[[], Case]:
    def case() -> Case:
        pixels, tensor = images(96)
        return Case("64 x 96 px", ours, (pixels,), lambda y: y.x, theirs(), lambda m: m(tensor))

    return case


def resnet18() -> torch.nn.Module:
    module = torchvision.models.resnet18()
    module.fc = torch.nn.Linear(512, 64)
    return module


def mobilenet() -> torch.nn.Module:
    module = torchvision.models.mobilenet_v2()
    module.classifier = torch.nn.Linear(1280, 64)
    return module


def of_words(ours: Any, theirs: torch.nn.Module) -> Case:
    ids = np.random.default_rng(0).integers(5, 1000, (ROWS, 48), np.int32)
    tensor = torch.tensor(ids).long()
    return Case(
        "4 x 192, 64 x 48 words",
        ours,
        (ids,),
        lambda y: y.x,
        theirs,
        lambda m: m(tensor).last_hidden_state,
    )


def bert() -> Case:
    config = transformers.BertConfig(
        vocab_size=1000,
        **SMALL,
    )
    theirs = transformers.BertModel(config, add_pooling_layer=False)
    ours = TextTransformer(
        192, 1000, layers=4, heads=4, norm="post", activation="gelu_exact", embedding_norm=True
    )
    return of_words(ours, theirs)


def clips() -> tuple[np.ndarray, torch.Tensor]:
    """The same clips for both: uint8 channels last, float [B T 3 H W]."""
    frames = np.random.default_rng(0).integers(0, 256, (ROWS, 8, 64, 64, 3), np.uint8)
    return frames, torch.tensor(frames).permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def video_mae() -> Case:
    frames, tensor = clips()
    config = transformers.VideoMAEConfig(
        **SMALL,
        image_size=64,
        patch_size=8,
        num_frames=8,
        use_mean_pooling=False,
    )
    theirs = transformers.VideoMAEModel(config)
    return Case(
        "4 x 192, 64 x 8 x 64 px",
        VideoMae(192, 8, layers=4, heads=4),
        (frames,),
        lambda y: y.x,
        theirs,
        lambda m: m(tensor).last_hidden_state,
    )


def clip_text() -> Case:
    config = transformers.CLIPTextConfig(
        vocab_size=1000,
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=48,
    )
    theirs = transformers.CLIPTextModel(config)
    ours = TextTransformer(192, 1000, layers=4, heads=4, causal=True, activation="quick_gelu")
    return of_words(ours, theirs)


class TorchTextCnn(torch.nn.Module):
    """Embeddings, convolutions of several sizes, their maxima, a linear layer."""

    def __init__(self, width: int, sizes: tuple[int, ...], channels: int):
        super().__init__()
        self.words = torch.nn.Embedding(1000, width)
        convolutions = [torch.nn.Conv1d(width, channels, size, padding="same") for size in sizes]
        self.convolutions = torch.nn.ModuleList(convolutions)
        self.out = torch.nn.Linear(len(sizes) * channels, width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[B L] -> [B D]."""
        x = self.words(ids).transpose(1, 2)
        return self.out(torch.cat([torch.relu(c(x)).amax(2) for c in self.convolutions], dim=1))


def text_cnn() -> Case:
    ids, sizes = np.random.default_rng(0).integers(5, 1000, (ROWS, 48), np.int32), (3, 4, 5)
    tensor, theirs = torch.tensor(ids).long(), TorchTextCnn(192, sizes, 100)
    ours = TextCnn(192, 1000, sizes, 100)
    return Case("100 of 3, 4, 5 words", ours, (ids,), lambda y: y.x, theirs, lambda m: m(tensor))


def vivit() -> Case:
    frames, tensor = clips()
    config = transformers.VivitConfig(**SMALL, image_size=64, num_frames=8, tubelet_size=(2, 8, 8))
    theirs = transformers.VivitModel(config, add_pooling_layer=False)
    ours = Vivit(192, layers=4, heads=4, patch_size=8)
    return Case(
        "4 x 192, 64 x 8 x 64 px",
        ours,
        (frames,),
        lambda y: y.x,
        theirs,
        lambda m: m(tensor).last_hidden_state,
    )


def cnn3d() -> Case:
    frames, tensor = clips()
    channels, layers, last = (32, 64, 128), [], 3
    for count in channels:
        conv = torch.nn.Conv3d(last, count, 3, (1, 2, 2), 1)
        layers += [conv, torch.nn.GroupNorm(8, count), torch.nn.ReLU()]
        last = count
    layers += [torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(), torch.nn.Linear(last, 192)]
    moved = tensor.transpose(1, 2).contiguous()
    ours = Cnn3d(192, channels, time_strides=(1, 1, 1), output="mean")
    return Case(
        "32, 64, 128; 64 x 8 x 64 px",
        ours,
        (frames,),
        lambda y: y.x,
        torch.nn.Sequential(*layers),
        lambda m: m(moved),
    )


ENCODERS: dict[str, Callable[[], Case]] = {
    "transformer": transformer,
    "lstm": recurrent("lstm"),
    "gru": recurrent("gru"),
    "vit": vit,
    "resnet18": convolutional(ResNet(64, output="mean"), resnet18),
    "mobilenet_v2": convolutional(MobileNetV2(64, output="mean"), mobilenet),
    "bert": bert,
    "clip_text": clip_text,
    "text_cnn": text_cnn,
    **AUDIO,
    "video_mae": video_mae,
    "vivit": vivit,
    "cnn3d": cnn3d,
}
