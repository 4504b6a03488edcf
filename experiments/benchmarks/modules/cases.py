"""What compare.py measures: a module of mmjax and its PyTorch counterpart, with inputs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import torchvision
import transformers

from mmjax.encoders.audio.ast import SpectrogramTransformer
from mmjax.encoders.audio.whisper import WhisperEncoder
from mmjax.encoders.image.mobilenet import MobileNetV2
from mmjax.encoders.image.resnet import ResNet
from mmjax.encoders.image.vit import Vit
from mmjax.encoders.text.transformer import TextTransformer
from mmjax.encoders.video.video_mae import VideoMae
from mmjax.fusion.bilinear import BilinearFusion
from mmjax.fusion.cross_attention import CrossAttentionFusion
from mmjax.fusion.perceiver import PerceiverFusion
from mmjax.nn.recurrent import Recurrent
from mmjax.nn.transformer import Transformer
from mmjax.types import Tokens

# What the configs of transformers have in common.
SMALL = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """Two modules of the same sizes and the same kind of input.

    output: what of our module's result the loss reads.
    torch_call: runs the PyTorch module on its input and gives what its loss reads.
    """

    size: str
    module: Any
    inputs: tuple
    output: Callable
    torch_module: torch.nn.Module
    torch_call: Callable[[torch.nn.Module], torch.Tensor]


def normal(*shape: int) -> np.ndarray:
    """Random numbers, float32."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def transformer() -> Case:
    x = normal(64, 80, 192)
    layer = torch.nn.TransformerEncoderLayer(
        192, 4, 768, 0.0, "gelu", batch_first=True, norm_first=True
    )
    theirs = torch.nn.TransformerEncoder(layer, 4, torch.nn.LayerNorm(192))
    ours = Transformer(4, 4, activation="gelu_exact")
    tensor = torch.tensor(x)
    return Case("4 x 192, 64 x 80", ours, (x,), lambda y: y, theirs, lambda m: m(tensor))


def recurrent(cell: str) -> Callable[[], Case]:
    def case() -> Case:
        x = normal(64, 64, 128)
        theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](128, 128, batch_first=True)
        tensor, mask = torch.tensor(x), np.ones((64, 64), bool)
        ours = Recurrent(128, cell)
        return Case("128, 64 x 64", ours, (x, mask), lambda y: y[0], theirs, lambda m: m(tensor)[0])

    return case


def images(size: int, rows: int) -> tuple[np.ndarray, torch.Tensor]:
    """The same pictures for both: uint8 channels last, float channels first."""
    pixels = np.random.default_rng(0).integers(0, 256, (rows, size, size, 3), np.uint8)
    return pixels, torch.tensor(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def vit() -> Case:
    pixels, tensor = images(64, 32)
    config = transformers.ViTConfig(
        **(SMALL | {"num_attention_heads": 3}),
        image_size=64,
        patch_size=8,
    )
    theirs = transformers.ViTModel(config, add_pooling_layer=False)
    ours = Vit(192, 8, layers=4, heads=3, class_token=True, output="all")
    return Case(
        "4 x 192, 32 x 64 px",
        ours,
        (pixels,),
        lambda y: y.x,
        theirs,
        lambda m: m(tensor).last_hidden_state,
    )


def convolutional(ours: Any, theirs: Callable[[], torch.nn.Module]) -> Callable[[], Case]:
    def case() -> Case:
        pixels, tensor = images(96, 16)
        return Case("16 x 96 px", ours, (pixels,), lambda y: y.x, theirs(), lambda m: m(tensor))

    return case


def resnet18() -> torch.nn.Module:
    module = torchvision.models.resnet18()
    module.fc = torch.nn.Linear(512, 64)
    return module


def mobilenet() -> torch.nn.Module:
    module = torchvision.models.mobilenet_v2()
    module.classifier = torch.nn.Linear(1280, 64)
    return module


def bert() -> Case:
    ids = np.random.default_rng(0).integers(5, 1000, (64, 48), np.int32)
    config = transformers.BertConfig(
        vocab_size=1000,
        **SMALL,
    )
    theirs = transformers.BertModel(config, add_pooling_layer=False)
    ours = TextTransformer(
        192, 1000, layers=4, heads=4, norm="post", activation="gelu_exact", embedding_norm=True
    )
    tensor = torch.tensor(ids).long()
    return Case(
        "4 x 192, 64 x 48 words",
        ours,
        (ids,),
        lambda y: y.x,
        theirs,
        lambda m: m(tensor).last_hidden_state,
    )


def ast() -> Case:
    wave, mel = normal(8, 16_000) / 8, torch.tensor(normal(8, 98, 128))
    config = transformers.ASTConfig(
        **SMALL,
        max_length=98,
        num_mel_bins=128,
    )
    theirs = transformers.ASTModel(config)
    ours = SpectrogramTransformer(192, layers=4, heads=4, class_tokens=2)
    return Case(
        "4 x 192, 8 x 1 s",
        ours,
        (wave,),
        lambda y: y.x,
        theirs,
        lambda m: m(mel).last_hidden_state,
    )


def whisper() -> Case:
    wave, mel = normal(8, 32_000) / 8, torch.tensor(normal(8, 80, 200))
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
    theirs = transformers.models.whisper.modeling_whisper.WhisperEncoder(config)
    return Case(
        "4 x 192, 8 x 2 s",
        WhisperEncoder(192, layers=4, heads=4),
        (wave,),
        lambda y: y.x,
        theirs,
        lambda m: m(mel).last_hidden_state,
    )


def video_mae() -> Case:
    frames = np.random.default_rng(0).integers(0, 256, (4, 8, 64, 64, 3), np.uint8)
    tensor = torch.tensor(frames).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    config = transformers.VideoMAEConfig(
        **SMALL,
        image_size=64,
        patch_size=8,
        num_frames=8,
        use_mean_pooling=False,
    )
    theirs = transformers.VideoMAEModel(config)
    return Case(
        "4 x 192, 4 x 8 x 64 px",
        VideoMae(192, 8, layers=4, heads=4),
        (frames,),
        lambda y: y.x,
        theirs,
        lambda m: m(tensor).last_hidden_state,
    )


def modalities(width: int) -> dict[str, Tokens]:
    """Tokens of two modalities, all real."""
    return {
        name: Tokens(jnp.asarray(normal(64, length, width)), jnp.ones((64, length), bool))
        for name, length in {"image": 49, "text": 16}.items()
    }


class TorchBilinear(torch.nn.Module):
    """Means of two sequences, two linear layers and a bilinear one."""

    def __init__(self, width: int, factor: int):
        super().__init__()
        self.first, self.second = (torch.nn.Linear(width, factor) for _ in range(2))
        self.form = torch.nn.Bilinear(factor, factor, width)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """[B N D] and [B M D] -> [B D]."""
        return self.form(self.first(a.mean(1)), self.second(b.mean(1)))


def bilinear() -> Case:
    tokens = modalities(192)
    a, b = (torch.tensor(np.asarray(t.x)) for t in tokens.values())
    ours, theirs = BilinearFusion(192, factor_width=64), TorchBilinear(192, 64)
    return Case(
        "192, 64 x (49 + 16)", ours, (tokens,), lambda y: y.pooled, theirs, lambda m: m(a, b)
    )


def cross_attention() -> Case:
    tokens = modalities(192)
    image, text = (torch.tensor(np.asarray(t.x)) for t in tokens.values())
    layer = torch.nn.TransformerDecoderLayer(
        192, 4, 768, 0.0, "gelu", batch_first=True, norm_first=True
    )
    theirs = torch.nn.TransformerDecoder(layer, 2)
    ours = CrossAttentionFusion(192, layers=2, heads=4, query="text")
    return Case(
        "2 x 192, 64 x (49 + 16)",
        ours,
        (tokens,),
        lambda y: y.pooled,
        theirs,
        lambda m: m(text, image).mean(1),
    )


def perceiver() -> Case:
    tokens = modalities(192)
    joint = torch.cat([torch.tensor(np.asarray(t.x)) for t in tokens.values()], 1)
    config = transformers.PerceiverConfig(
        num_latents=16,
        d_latents=192,
        d_model=192,
        num_blocks=2,
        num_self_attends_per_block=1,
        num_self_attention_heads=4,
        num_cross_attention_heads=1,
        attention_probs_dropout_prob=0.0,
        self_attention_widening_factor=4,
        cross_attention_widening_factor=4,
    )
    theirs = transformers.PerceiverModel(config)
    ours = PerceiverFusion(192, reads="first", share=True, activation="gelu_exact")
    return Case(
        "16 x 192, 64 x 65",
        ours,
        (tokens,),
        lambda y: y.tokens.x,
        theirs,
        lambda m: m(joint).last_hidden_state,
    )


CASES: dict[str, Callable[[], Case]] = {
    "transformer": transformer,
    "lstm": recurrent("lstm"),
    "gru": recurrent("gru"),
    "vit": vit,
    "resnet18": convolutional(ResNet(64, output="mean"), resnet18),
    "mobilenet_v2": convolutional(MobileNetV2(64, output="mean"), mobilenet),
    "bert": bert,
    "ast": ast,
    "whisper": whisper,
    "video_mae": video_mae,
    "bilinear": bilinear,
    "cross_attention": cross_attention,
    "perceiver": perceiver,
}
