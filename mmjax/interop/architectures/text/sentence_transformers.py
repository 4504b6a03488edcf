"""Folders of sentence-transformers (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084):
a text transformer, and in folders of their own what makes one vector of its tokens."""

from collections.abc import Mapping
from typing import Any

from mmjax.backbones.text.sentence import POOLINGS, Norm, Projection, SentenceBackbone
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Spec
from mmjax.interop.architectures.text import bert, roberta
from mmjax.interop.architectures.text.bert import refuse_others
from mmjax.interop.preprocess.options import refuse_unknown
from mmjax.interop.preprocess.texts.tokenizer_files import read_json
from mmjax.interop.sentence_folder import Module, modules
from mmjax.interop.weights.checkpoint import read_config_file
from mmjax.interop.weights.layout import Rules, dense, matrix, norm, prefixed

# Of the text models without their heads.
TEXTS = (
    (bert.SPEC, bert.encoder),
    (bert.DISTILBERT, bert.distilled),
    (roberta.SPEC, roberta.encoder),
)
# The switch of each pooling in 1_Pooling/config.json.
SWITCHES = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
# From the classes of PyTorch to `mmjax.nn.layers.options.ACTIVATIONS`.
ACTIVATIONS = {
    "GELU": "gelu_exact",
    "Identity": "identity",
    "ReLU": "relu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
}
EMBEDDING = "sentence_embedding"
SAME = {"module_input_name": EMBEDDING, "module_output_name": EMBEDDING}
# The entries of each module's config.json that are read beside those of SAME.
READ = {
    "Dense": {"in_features", "out_features", "bias", "activation_function", "use_residual"},
    "Dropout": {"dropout"},
    "LayerNorm": {"dimension"},
    "Normalize": set(),
    "Pooling": {
        *("embedding_dimension", "word_embedding_dimension", "pooling_mode", "include_prompt"),
        *SWITCHES.values(),
    },
}


def poolings(config: Mapping[str, Any], width: int, where: str) -> tuple[str, ...]:
    """The names of the poolings that a Pooling module computes, in the order of its vector.

    Raises:
        UserError: one that mmjax does not have, none, or of tokens of another width.
    """
    refuse_others(config, {"word_embedding_dimension": width, "embedding_dimension": width}, where)
    given = config.get("pooling_mode")
    if given is None:
        # The mean alone is on where the file has no switch at all.
        usual = not any(key in config for key in SWITCHES.values())
        on = {name: config.get(key, usual and name == "mean") for name, key in SWITCHES.items()}
        found = tuple(name for name in POOLINGS if on[name])
    else:
        given = [given] if isinstance(given, str) else list(given)
        found = tuple(given)  # in this order
        if not set(found) <= POOLINGS.keys():
            raise UserError(f"{where}: pooling_mode={given!r}: there is {', '.join(POOLINGS)}")
    if not found:
        raise UserError(f"{where}: no pooling is on: is the file damaged?")
    return found


def projection(config: Mapping[str, Any], folder: str, where: str) -> tuple[Projection, Rules]:
    """The layer of a Dense module, and its layout.

    Raises:
        UserError: an activation or a use of it that mmjax does not have.
    """
    given = config.get("activation_function", "Tanh")
    kind = "Identity" if given is None else str(given).rpartition(".")[2]
    width, bias = config.get("out_features"), bool(config.get("bias", True))
    if kind not in ACTIVATIONS or not isinstance(width, int):
        raise UserError(
            f"{where}: activation_function {kind!r} with out_features={width!r}: mmjax has"
            f" {', '.join(ACTIVATIONS)} with a width"
        )
    residual = ""
    if config.get("use_residual"):
        residual = "same" if config.get("in_features") == width else "projected"
    layer = Projection(f"dense_{folder}", width, bias, ACTIVATIONS[kind], residual)
    rules = dense(layer.name, f"{folder}/linear", bias=bias)
    if residual == "projected":
        rules += matrix(f"{layer.name}_residual", f"{folder}/residual.weight")
    return layer, rules


def step_of(module: Module, config: Mapping[str, Any], where: str) -> tuple[list[Any], Rules]:
    """What a module after the pooling adds to the steps of a `SentenceBackbone`, and its layout.

    Raises:
        UserError: see `projection`.
    """
    refuse_others(config, SAME, where)
    if module.kind == "Dropout":  # of training
        return [], []
    if module.kind == "Normalize":
        return [None], []
    if module.kind == "LayerNorm":
        step = Norm(f"norm_{module.folder}")
        return [step], norm(step.name, f"{module.folder}/norm")
    layer, rules = projection(config, module.folder, where)
    return [layer], rules


def text_of(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """The transformer of the folder.

    Raises:
        UserError: none that mmjax has.
    """
    for spec, encoder in TEXTS:
        if spec.recognises(checkpoint):
            return encoder(checkpoint, dtype)
    raise UserError(
        f"{checkpoint.path}: the transformer of this sentence-transformers folder is of the type"
        f" {checkpoint.config.get('model_type')!r}; mmjax loads"
        f" {', '.join(spec.name for spec, _ in TEXTS)}"
    )


def check_order(kinds: list[str], where: str) -> None:
    """Raises UserError for other modules than a transformer, a pooling, and what may follow."""
    known = set(READ) - {"Pooling"}
    if kinds[:2] != ["Transformer", "Pooling"] or not known.issuperset(kinds[2:]):
        raise UserError(
            f"{where}: modules.json lists {', '.join(kinds)}: mmjax runs Transformer, Pooling, and"
            f" then any of {', '.join(sorted(known))}"
        )


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """The text model with one output more, "sentence_embedding"."""
    path = checkpoint.path
    found: list[Module] = modules(path)
    check_order([module.kind for module in found], str(path))
    text = text_of(checkpoint, dtype)

    def config(module: Module) -> tuple[Mapping[str, Any], str]:
        file = path / module.folder / "config.json"
        # Git keeps no empty folders, and the modules without parameters need none.
        needed = module.kind in ("Dense", "LayerNorm", "Pooling")
        values = read_config_file(file) if needed else read_json(file)
        refuse_unknown(values, {*READ[module.kind], *SAME}, (), str(file))
        return values, str(file)

    given, where = config(found[1])
    names = poolings(given, text.module.width, where)
    excluded = given.get("include_prompt") is False
    steps: list[Any] = []
    rules = prefixed(text.rules, "backbone/")
    for module in found[2:]:
        more, layout = step_of(module, *config(module))
        steps += more
        rules += layout
    backbone = SentenceBackbone(text.module, names, tuple(steps), dtype, excluded)
    part = text.parts["text"]._replace(path="backbone")
    return Architecture(
        "sentence_transformers",
        backbone,
        rules,
        text.example,
        text.normalise,
        {"text": part},
        (*text.inputs, "prompt_length") if excluded else text.inputs,
    )


def recognises(checkpoint: Checkpoint) -> bool:
    """By modules.json beside the weights."""
    return checkpoint.path.is_dir() and bool(modules(checkpoint.path))


SPEC = Spec("sentence_transformers", recognises, build)
