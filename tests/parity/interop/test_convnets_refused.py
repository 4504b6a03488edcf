"""Convolutional networks that are neither ResNet nor MobileNetV2, or variants of them: one line."""

import json

import numpy as np
import pytest

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.formats import safetensors
from tests.parity.interop import published

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")


def small():
    block = torchvision.models.resnet.BasicBlock
    return published.randomise(torch, torchvision.models.ResNet(block, [1, 1, 1, 1], num_classes=5))


def changed(change=lambda _: None):
    """The tensors of a network, as arrays, after a change."""
    state = {name: x.numpy() for name, x in small().state_dict().items()}
    change(state)
    return state


def of_timm(name):
    return {k: x.numpy() for k, x in timm.create_model(name, num_classes=2).state_dict().items()}


REFUSED = {
    "another stem": (
        lambda: changed(lambda s: s.update({"conv1.weight": np.zeros((64, 3, 3, 3), "f")})),
        "7x7",
    ),
    "a stem of three convolutions": (lambda: of_timm("resnet18d"), "mmjax can load"),
    "squeeze and excitation": (lambda: of_timm("seresnet18"), "se.fc1"),
    "groups": (lambda: of_timm("resnext50_32x4d"), "layer1.0.conv2.weight"),
    "a tensor that is missing": (
        lambda: changed(lambda s: s.pop("layer2.0.bn2.running_var")),
        "layer2.0.bn2.running_var",
    ),
    "kernels of five pixels": (lambda: of_timm("efficientnet_lite0"), "blocks.2.0.conv_dw"),
    "too few blocks": (
        lambda: {
            name: x.numpy()
            for name, x in torchvision.models.MobileNetV2(
                inverted_residual_setting=[[1, 8, 1, 1], [2, 8, 2, 2]]
            )
            .state_dict()
            .items()
        },
        "table 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_networks_are_refused_in_one_line(case, tmp_path):
    state, message = REFUSED[case]
    safetensors.write(tmp_path / "model.safetensors", state())
    with pytest.raises(UserError, match=message) as caught:
        interop.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "resnetblur18"},
        {"model_type": "resnet", "hidden_act": "gelu"},
        {"model_type": "resnet", "downsample_in_bottleneck": True},
    ],
)
def test_variants_that_only_a_config_tells_are_refused(config, tmp_path):
    safetensors.write(tmp_path / "model.safetensors", changed())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="mmjax has only"):
        interop.load(tmp_path)


def test_pictures_of_other_channels_are_refused(tmp_path):
    torch.save(small().state_dict(), tmp_path / "it.pth")
    model = interop.load(tmp_path / "it.pth")
    with pytest.raises(UserError, match="4 channels, but the model takes 3"):
        model(pixel_values=np.zeros((1, 4, 40, 40)))
