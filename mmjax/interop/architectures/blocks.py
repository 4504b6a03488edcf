"""What several architectures share: layouts of blocks, and classifiers."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from mmjax.backbones.classifier import Classifier
from mmjax.interop.weights.layout import Rules, dense, norm, prefixed, qkv


def classified(
    backbone: nn.Module, rules: Rules, names: Mapping[str, Any], head: str = "classifier"
) -> tuple[nn.Module, str, Rules]:
    """A backbone with the classifier on its pooled vector, if there is one among `names`.

    Returns:
        The module, the path of the backbone's parameters in it, and its layout.
    """
    if f"{head}.weight" not in names:
        return backbone, "", rules
    module = Classifier(backbone, names[f"{head}.weight"].shape[0], backbone.dtype)
    return module, "backbone", [*prefixed(rules, "backbone/"), *dense("classifier", head)]


def modern_blocks(ours: str, theirs: str, layers: int, width: int) -> Rules:
    """Pre-norm blocks as CLIP, SigLIP and their successors in transformers name them."""
    block = [
        *norm("attention_norm", "layer_norm1"),
        *qkv("attention/qkv", [f"self_attn.{part}_proj" for part in "qkv"], width),
        *dense("attention/out", "self_attn.out_proj"),
        *norm("mlp_norm", "layer_norm2"),
        *dense("mlp_in", "mlp.fc1"),
        *dense("mlp_out", "mlp.fc2"),
    ]
    return repeated(block, ours, theirs, layers)


def repeated(block: Rules, ours: str, theirs: str, layers: int) -> Rules:
    """The layout of one block, for each of them: OURS/block_N/... and THEIRS.N.…

    With ours="": block_N/...
    """
    rules: Rules = []
    for layer in range(layers):
        path = f"{ours}/block_{layer}/".removeprefix("/")
        rules += prefixed(block, path, f"{theirs}.{layer}.")
    return rules
