"""The heads that a file of a text transformer has beside it, by its tensors and its class."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmjax.backbones.classifier import Classifier
from mmjax.interop.architecture import Architecture, Checkpoint
from mmjax.interop.weights.layout import dense, prefixed

# By the layer between the first token and the classifier: the classifier, and what follows the
# layer.
BETWEEN: Mapping[str, tuple[str, str]] = {
    "classifier.dense": ("classifier.out_proj", "tanh"),  # RoBERTa
    "pre_classifier": ("classifier", "relu"),  # DistilBERT
}


def with_head(architecture: Architecture, checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """The text transformer with the head that its file has, if it is one for sequences, for each
    word or for spans.

    One for several choices, and those of the pretraining, stay left over.
    """
    found = {architecture.normalise(n): x for n, x in checkpoint.weights.items()}
    said = next(iter(checkpoint.config.get("architectures") or ()), "")
    backbone = architecture.module
    if said.endswith("ForMultipleChoice"):
        return architecture
    for between, (name, activation) in BETWEEN.items():
        if f"{between}.weight" in found and f"{name}.weight" in found:
            width, classes = found[f"{between}.weight"].shape[0], found[f"{name}.weight"].shape[0]
            module = Classifier(
                backbone, classes, dtype, "first", width=width, activation=activation
            )
            rules = [*dense("hidden", between), *dense("classifier", name)]
            return _around(architecture, module, rules)
    name = "qa_outputs" if "qa_outputs.weight" in found else "classifier"
    if f"{name}.weight" not in found:
        return architecture
    classes = found[f"{name}.weight"].shape[0]
    pooled = backbone.pooling is not None and not said.endswith("ForTokenClassification")
    if name == "classifier" and pooled:
        module = Classifier(backbone, classes, dtype)
    else:
        module = Classifier(backbone, classes, dtype, "tokens", spans=name == "qa_outputs")
    return _around(architecture, module, dense("classifier", name))


def _around(architecture: Architecture, module: Any, head: Any) -> Architecture:
    return dataclasses.replace(
        architecture,
        module=module,
        rules=[*prefixed(architecture.rules, "backbone/"), *head],
        parts={kind: part._replace(path="backbone") for kind, part in architecture.parts.items()},
    )
