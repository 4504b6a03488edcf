"""Files of training programs: the weights that the original library takes, and nothing is run."""

import argparse
import collections
import sys
import types

import numpy as np
import pytest

from mmjax import interop
from mmjax.interop.formats.open_weights import open_weights
from tests.parity.interop import published

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")
helpers = pytest.importorskip("timm.models._helpers")
transformers = pytest.importorskip("transformers")

BERT = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
}


def resnet():
    block = torchvision.models.resnet.BasicBlock
    return torchvision.models.ResNet(block, [1, 1, 1, 1], num_classes=3)


def vit():
    return timm.models.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=64, depth=1, num_heads=1, num_classes=3
    )


def bert():
    torch.manual_seed(0)
    return transformers.BertModel(transformers.BertConfig(**BERT))


MODELS = {"resnet": resnet, "timm_vit": vit, "bert": bert}


LIGHTNING = "pytorch_lightning.utilities.parsing"
Settings = type("AttributeDict", (dict,), {"__module__": LIGHTNING})


@pytest.fixture(scope="module")
def beside():
    """What lies beside the weights: the optimizer after a step, settings, numbers of NumPy's."""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1, sizes=(1, 2), dtype=torch.float32),
        "more": types.SimpleNamespace(name="x"),
        "best": np.float64(0.7),
        "count": np.int64(3),
        "device": torch.device("cpu"),
        "size": torch.Size([1, 2]),
        "random": np.random.RandomState(0).get_state(),
        "history": collections.defaultdict(list, {"loss": [np.float32(0.5)]}),
        "epoch": 3,
        "version": torch.__version__,
    }


def wrapped(state, kind, other):
    """The weights `state` among others, as programs write them."""
    module = {f"module.{name}": x for name, x in state.items()}
    compiled = {f"_orig_mod.{name}": x for name, x in state.items()}
    lightning = {f"model.{name}": x for name, x in state.items()} | {"loss.scale": torch.ones(2)}
    both = {f"module._orig_mod.{name}": x for name, x in state.items()}
    return {
        "plain": lambda: dict(state),
        "timm": lambda: {"state_dict": other, "state_dict_ema": module, "arch": "it"},
        "timm model": lambda: {"model": other, "model_ema": compiled},
        "open_clip": lambda: {"state_dict": module, "name": "run"},
        "lightning": lambda: {"state_dict": lightning, "hyper_parameters": Settings(lr=1)},
        "averaged": lambda: {"model_state": dict(module, n_averaged=torch.tensor(7))},
        "compiled": lambda: {"net": both},
        "state": lambda: {"model_state_dict": compiled},
    }[kind]()


KINDS = ["timm", "timm model", "open_clip", "lightning", "averaged", "compiled", "state"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[("timm_vit", kind) for kind in KINDS],
        *[("resnet", kind) for kind in ("timm", "lightning")],
        *[("bert", kind) for kind in ("timm model", "open_clip")],
    ],
)
def test_training_files_give_the_weights_that_are_evaluated(
    name, kind, beside, tmp_path, monkeypatch
):
    theirs = published.randomise(torch, MODELS[name]())
    other = published.randomise(torch, MODELS[name](), seed=1).state_dict()
    parsing = types.ModuleType(LIGHTNING)
    parsing.AttributeDict = Settings
    for module in ("pytorch_lightning", "pytorch_lightning.utilities", LIGHTNING):
        monkeypatch.setitem(sys.modules, module, parsing)
    path = tmp_path / "theirs" / "checkpoint.ckpt"
    path.parent.mkdir()
    state = theirs.state_dict()
    torch.save(beside | wrapped(state, kind, other), path)
    if name == "bert":
        theirs.config.save_pretrained(path.parent)
    model = interop.load(path)
    assert not model.report.unexpected
    interop.save(model, tmp_path / "ours")
    given = open_weights(tmp_path / "ours")
    # What a file of weights alone may lack: counters, which PyTorch starts at zero.
    assert set(given) == set(state)
    for key, tensor in given.items():
        np.testing.assert_array_equal(tensor.read(), state[key].numpy(), err_msg=key)
    again = MODELS[name]()
    again.load_state_dict(helpers.load_state_dict(str(tmp_path / "ours" / "model.safetensors")))
