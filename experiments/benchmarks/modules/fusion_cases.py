"""Fusions beside their PyTorch counterparts: public ones, or as one would write them."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import transformers
from case import Case, normal

from mmjax.fusion.attention.bottleneck import BottleneckFusion
from mmjax.fusion.attention.cross_attention import CrossAttentionFusion
from mmjax.fusion.attention.mult import MultFusion
from mmjax.fusion.attention.perceiver import PerceiverFusion
from mmjax.fusion.attention.vilbert import CoAttentionalTransformerFusion
from mmjax.fusion.bilinear.bilinear import BilinearFusion
from mmjax.fusion.bilinear.low_rank import LowRankFusion
from mmjax.fusion.bilinear.mutan import MutanFusion
from mmjax.fusion.bilinear.tensor import TensorFusion
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.fusion.pooling.gated import GatedFusion
from mmjax.types import Tokens


def modalities(width: int, rows: int = 64) -> dict[str, Tokens]:
    """Tokens of two modalities, all real."""
    return {
        name: Tokens(jnp.asarray(normal(rows, length, width)), jnp.ones((rows, length), bool))
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


def masked_mean(x: torch.Tensor) -> torch.Tensor:
    """The mean over the real tokens, here all: [B N D] -> [B D]."""
    mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    total = torch.where(mask[..., None], x, 0.0).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1)


class TorchPair(torch.nn.Module):
    """A function of the means of two sequences over their real tokens, with layers by name."""

    def __init__(self, combine: Callable, **layers: torch.nn.Module):
        super().__init__()
        self.layers, self.combine = torch.nn.ModuleDict(layers), combine

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """[B N D] and [B M D] -> [B D]."""
        return self.combine(self.layers, masked_mean(a), masked_mean(b))


def with_one(x: torch.Tensor) -> torch.Tensor:
    """[B D] -> [B D + 1]."""
    return torch.cat([x, torch.ones(len(x), 1)], dim=1)


def pairs(ours: Any, make: Callable[[], torch.nn.Module], rows: int = 512) -> Callable[[], Case]:
    """A fusion of two modalities; by default so many rows that a call itself takes no time."""

    def case() -> Case:
        tokens = modalities(192, rows)
        a, b = (torch.tensor(np.asarray(t.x)) for t in tokens.values())
        size = f"192, {rows} x (49 + 16)"
        return Case(size, ours, (tokens,), lambda y: y.pooled, make(), lambda m: m(a, b))

    return case


def linear(features: int, out: int, bias: bool = True) -> torch.nn.Linear:
    return torch.nn.Linear(features, out, bias)


def concat() -> torch.nn.Module:
    return TorchPair(
        lambda m, a, b: torch.nn.functional.gelu(m["joint"](torch.cat([a, b], 1))),
        joint=linear(384, 192),
    )


def gated() -> torch.nn.Module:
    def combine(m, a, b):
        z = torch.sigmoid(m["gate"](torch.cat([a, b], 1)))
        return z * torch.tanh(m["a"](a)) + (1 - z) * torch.tanh(m["b"](b))

    layers = {"a": linear(192, 192, False), "b": linear(192, 192, False)}
    return TorchPair(combine, gate=linear(384, 192, False), **layers)


def tensor_product() -> torch.nn.Module:
    def combine(m, a, b):
        left, right = with_one(m["a"](a)), with_one(m["b"](b))
        return m["out"]((left[:, :, None] * right[:, None]).flatten(1))

    layers = {"a": linear(192, 32), "b": linear(192, 32)}
    return TorchPair(combine, out=linear(33 * 33, 192, False), **layers)


def low_rank() -> torch.nn.Module:
    def combine(m, a, b):
        return m["ranks"]((m["a"](a) * m["b"](b)).unflatten(1, (192, 4)))[..., 0]

    layers = {"a": linear(192, 4 * 192), "b": linear(192, 4 * 192)}
    return TorchPair(combine, ranks=linear(4, 1), **layers)


def mutan() -> torch.nn.Module:
    def combine(m, a, b):
        left, right = (torch.tanh(m[n](x)) for n, x in (("a", a), ("b", b)))
        return m["out"]((m["left"](left) * m["right"](right)).unflatten(1, (5, 64)).sum(1))

    inner = {"left": linear(64, 320), "right": linear(64, 320)}
    return TorchPair(combine, a=linear(192, 64), b=linear(192, 64), out=linear(64, 192), **inner)


def encoder_layer(activation: str = "gelu") -> torch.nn.Module:
    return torch.nn.TransformerEncoderLayer(
        192, 4, 768, 0.0, activation, batch_first=True, norm_first=True
    )


def both(make: Callable[[], torch.nn.Module]) -> torch.nn.ModuleList:
    return torch.nn.ModuleList(make() for _ in range(2))


class TorchReader(torch.nn.Module):
    """Cross-attention and mlp, pre-norm on both sequences."""

    def __init__(self, activation: Callable):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(192, 4, batch_first=True)
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(192) for _ in range(3))
        self.enter, self.leave, self.activation = linear(192, 768), linear(768, 192), activation

    def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """[B N D] that reads [B M D]."""
        other = self.norms[1](other)
        x = x + self.attention(self.norms[0](x), other, other, need_weights=False)[0]
        return x + self.leave(self.activation(self.enter(self.norms[2](x))))


class TorchMult(torch.nn.Module):
    """MulT of two modalities."""

    def __init__(self):
        super().__init__()
        convolve = functools.partial(torch.nn.Conv1d, 192, 192, 3, padding=1, bias=False)
        self.convolutions = both(convolve)
        self.joins = both(lambda: linear(192, 192))
        self.own = both(
            lambda: torch.nn.TransformerEncoder(encoder_layer("relu"), 2, torch.nn.LayerNorm(192))
        )
        self.readers = both(lambda: both(lambda: TorchReader(torch.relu)))
        self.out = linear(384, 192)

    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        """[B N D] and [B M D] -> [B D]."""
        xs = [
            c(x.transpose(1, 2)).transpose(1, 2) for c, x in zip(self.convolutions, xs, strict=True)
        ]
        ends = []
        for i, x in enumerate(xs):
            for reader in self.readers[i]:
                x = reader(x, xs[1 - i])
            ends.append(self.own[i](self.joins[i](x))[:, -1])
        return self.out(torch.cat(ends, 1))


class TorchVilbert(torch.nn.Module):
    """Two streams whose layers read each other and then themselves."""

    def __init__(self, layers: int):
        super().__init__()
        gelu = torch.nn.functional.gelu
        readers = [both(lambda: TorchReader(gelu)) for _ in range(layers)]
        self.readers = torch.nn.ModuleList(readers)
        self.own = torch.nn.ModuleList(both(encoder_layer) for _ in range(layers))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """[B N D] and [B M D] -> [B D]."""
        for readers, own in zip(self.readers, self.own, strict=True):
            a, b = readers[0](a, b), readers[1](b, a)
            a, b = own[0](a), own[1](b)
        return a.mean(1) * b.mean(1)


class TorchBottleneck(torch.nn.Module):
    """Two streams that share four tokens from the second layer on."""

    def __init__(self, layers: int):
        super().__init__()
        self.start = torch.nn.Parameter(torch.randn(3, 192) / 50)
        self.bottlenecks = torch.nn.Parameter(torch.randn(4, 192) / 50)
        self.blocks = torch.nn.ModuleList(both(encoder_layer) for _ in range(layers))

    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        """[B N D] and [B M D] -> [B D]."""
        batch = len(xs[0])
        xs = [torch.cat([self.start[i].expand(batch, 1, 192), x], 1) for i, x in enumerate(xs)]
        shared = self.bottlenecks.expand(batch, 4, 192)
        for layer, blocks in enumerate(self.blocks):
            if layer == 0:
                xs = [block(x) for block, x in zip(blocks, xs, strict=True)]
                continue
            joined = [block(torch.cat([x, shared], 1)) for block, x in zip(blocks, xs, strict=True)]
            xs, shared = [x[:, :-4] for x in joined], sum(x[:, -4:] for x in joined) / 2
        return sum(x[:, 0] for x in xs) / 2


FUSIONS: dict[str, Callable[[], Case]] = {
    "concat": pairs(ConcatFusion(192), concat),
    "gmu": pairs(GatedFusion(192), gated),
    "bilinear": bilinear,
    "tfn": pairs(TensorFusion(192, 32), tensor_product),
    "lmf": pairs(LowRankFusion(192), low_rank),
    "mutan": pairs(MutanFusion(192), mutan),
    "cross_attention": cross_attention,
    "vilbert": pairs(CoAttentionalTransformerFusion(192), lambda: TorchVilbert(2), 64),
    "mult": pairs(MultFusion(192), TorchMult, 64),
    "bottleneck": pairs(BottleneckFusion(192), lambda: TorchBottleneck(3), 64),
    "perceiver": perceiver,
}
