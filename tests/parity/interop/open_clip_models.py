"""Models of open_clip of any config, with drawn weights, against ours, and back."""

import contextlib
import functools
import json
import math
from pathlib import Path
from unittest import mock

import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import interop
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.formats.tensors import Tensor
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.variables import expected_shapes
from tests.parity.interop import published

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
safetensors = pytest.importorskip("safetensors.torch")


@contextlib.contextmanager
def sized(**sizes):
    """Within it open_clip's models of timm have these sizes; its configs hold none."""
    timm = open_clip.timm_model.timm
    small = functools.partial(timm.create_model, **sizes)
    with mock.patch.object(timm, "create_model", small):
        yield


def build(config, *, custom=False, sizes=None, seed=0):
    """A model of its class CLIP or CustomTextCLIP with everything drawn."""
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    given = {name: value for name, value in config.items() if name != "custom_text"}
    with sized(**sizes or {}):
        theirs = kind(**given, output_dict=True)
    masks = {name: x.clone() for name, x in theirs.named_buffers() if name.endswith("attn_mask")}
    theirs = published.randomise(torch, theirs, seed)
    for name, x in theirs.named_buffers():
        if name in masks:
            x.copy_(masks[name])
        if name.endswith("num_batches_tracked"):
            x.fill_(7 + seed)
    return theirs


def built(config, **sizes):
    """A model of open_clip without memory, and how we build it; their tensors are the same ones."""
    given = {name: value for name, value in config.items() if name != "custom_text"}
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    with torch.device("meta"), sized(**sizes):
        theirs = kind(**given)
    weights = {
        name: Tensor(tuple(x.shape), np.dtype("float32"), lambda: None, "")
        for name, x in theirs.state_dict().items()
    }
    architecture = architecture_of(Checkpoint(Path("it"), config, weights), jnp.float32)
    names = {name for rule in architecture.rules for name in rule.theirs}
    assert names == {architecture.normalise(name) for name in weights} - {""}
    shapes = expected_shapes(architecture).values()
    mine = [x for name, x in weights.items() if architecture.normalise(name)]
    assert sum(map(math.prod, shapes)) == sum(math.prod(x.shape) for x in mine)
    return theirs, architecture


def inputs_of(config, seed=0):
    """Two pictures of the model's size, and three texts."""
    generator = np.random.default_rng(seed)
    sides, text = config["vision_cfg"]["image_size"], config["text_cfg"]
    sides = sides if isinstance(sides, (list, tuple)) else [sides] * 2
    image = generator.normal(size=(2, 3, *sides))
    ids = generator.integers(0, text["vocab_size"], (3, text["context_length"]))
    return {"image": torch.tensor(image).float(), "text": torch.tensor(ids)}


def write(folder, config, state, more=None):
    """The folder as open_clip would have saved it; `more` is beside model_cfg."""
    folder.mkdir(exist_ok=True)
    text = json.dumps({"model_cfg": config, **(more or {})})
    (folder / "open_clip_config.json").write_text(text)
    safetensors.save_file(state, folder / "open_clip_model.safetensors")


def image_layers(visual):
    """The modules before the first of which and after each of which the hidden states are."""
    if hasattr(visual, "layer1"):
        return [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
    return visual.trunk.blocks if hasattr(visual, "trunk") else visual.transformer.resblocks


def tokens(x):
    """Of a map, its cells row by row."""
    return x if x.ndim == 3 else x.flatten(2).transpose(1, 2)


def outputs(theirs, inputs):
    """Theirs, and the tokens before the first layer and after each."""
    text = theirs.text if hasattr(theirs, "text") else theirs
    layers = {"vision": image_layers(theirs.visual), "text": text.transformer.resblocks}
    states, hooks = {"vision": [], "text": []}, []
    for name, backbone in layers.items():
        kept = states[name]

        def before(_, x, kept=kept):
            kept.append(tokens(x[0]))

        def after(_, __, y, kept=kept):
            kept.append(tokens(y))

        hooks.append(backbone[0].register_forward_pre_hook(before))
        hooks += [layer.register_forward_hook(after) for layer in backbone]
    with torch.no_grad():
        found = theirs(**inputs)
        for hook in hooks:
            hook.remove()
        image, text = theirs.get_logits(**inputs)
    found |= {"logits_per_image": image, "logits_per_text": text}
    found |= {f"{name}_model_output": {"hidden_states": kept} for name, kept in states.items()}
    return published.as_numpy(found)


def check(config, folder, *, custom=False, sizes=None):
    """Saves, compares all outputs, exports, loads strictly, and compares again; gives our model."""
    theirs, inputs = build(config, custom=custom, sizes=sizes), inputs_of(config)
    write(folder / "theirs", config, theirs.state_dict())
    model = interop.load(folder / "theirs")
    expected = outputs(theirs, inputs)
    found = model(**published.as_arrays(inputs), **published.HIDDEN)
    published.assert_close(found, expected)
    assert not model.report.unexpected
    file = interop.save(model, folder / "ours")
    again = build(config, custom=custom, sizes=sizes, seed=1)
    open_clip.load_checkpoint(again, str(file))
    for name, x in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], x), name
    published.assert_close(outputs(again, inputs), expected, 1e-6)
    return model


def openai(config, folder):
    """A TorchScript archive in half precision with the numbers that OpenAI put into theirs.

    Returns its path and inputs of the model.
    """
    theirs = build(config)
    theirs.output_dict = False
    for module in theirs.modules():
        if "attn_mask" in module._buffers:
            module.attn_mask = module._buffers.pop("attn_mask")
    for name in ("input_resolution", "context_length", "vocab_size"):
        if hasattr(theirs, name):
            delattr(theirs, name)
        theirs.register_buffer(name, torch.tensor(8))
    inputs = inputs_of(config)
    traced = torch.jit.trace(theirs, (inputs["image"], inputs["text"]), check_trace=False)
    traced.half().save(folder / "model.pt")
    return folder / "model.pt", inputs


def check_openai(config, folder):
    """Such a file alone is loaded, equals open_clip, and is given back."""
    path, inputs = openai(config, folder)
    theirs = open_clip.load_openai_model(str(path), precision="fp32")
    theirs.output_dict = True
    model = interop.load(path)
    assert not model.report.unexpected
    found = model(**published.as_arrays(inputs), **published.HIDDEN)
    published.assert_close(found, outputs(theirs, inputs))
    again = open_clip.load_openai_model(str(interop.save(model, folder / "ours")), "fp32")
    again.output_dict = True
    published.assert_close(outputs(again, inputs), outputs(theirs, inputs), 1e-6)
