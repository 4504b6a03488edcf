"""CLIP and SigLIP against transformers: drawn shapes, all outputs, gradients, and back."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY = 40


@st.composite
def dual(draw, end):
    """Both halves."""
    sizes = published.sizes("quick_gelu", "gelu", "gelu_pytorch_tanh")
    patch = draw(st.sampled_from([2, 3, 4]))
    length = draw(st.integers(2, 9))
    vision = draw(sizes) | {"patch_size": patch, "image_size": patch * draw(st.integers(1, 3))}
    text = draw(sizes) | {
        "max_position_embeddings": length,
        "vocab_size": VOCABULARY,
        "eos_token_id": end,
        "bos_token_id": 0,
        "pad_token_id": 1,
    }
    return {"vision_config": vision, "text_config": text}


def texts(length, end, seed=0):
    """Three texts, the second short, and their masks."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(3, VOCABULARY - 1, (3, length))
    ends = [length, max(1, length // 2), length]
    for row, stop in enumerate(ends):
        ids[row, stop - 1 :] = VOCABULARY - 1 if end == 2 else end
    mask = np.arange(length) < np.array(ends)[:, None]
    return torch.tensor(ids), torch.tensor(mask.astype(int))


def pictures(side, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(2, 3, *side))).float()


def clip(sizes, end, projection=7):
    config = transformers.CLIPConfig(**sizes, projection_dim=projection)
    config.text_config.eos_token_id = end
    return published.randomise(torch, transformers.CLIPModel(config))


@pytest.mark.parametrize("end", [2, VOCABULARY - 1])
@published.DRAWN
@given(data=st.data())
def test_clip_of_any_shape_equals_transformers_and_returns(end, data, tmp_path_factory):
    drawn = data.draw(dual(end))
    side = drawn["vision_config"]["image_size"]
    ids, mask = texts(drawn["text_config"]["max_position_embeddings"], end)
    inputs = {"input_ids": ids, "attention_mask": mask, "pixel_values": pictures((side, side))}
    published.check(torch, clip(drawn, end), inputs, tmp_path_factory.mktemp("clip"))


@published.DRAWN
@given(drawn=dual(VOCABULARY - 1))
def test_siglip_of_any_shape_equals_transformers_and_returns(drawn, tmp_path_factory):
    drawn["text_config"]["projection_size"] = drawn["vision_config"]["hidden_size"]
    theirs = transformers.SiglipModel(transformers.SiglipConfig(**drawn))
    side = drawn["vision_config"]["image_size"]
    ids, _ = texts(drawn["text_config"]["max_position_embeddings"], 1)
    inputs = {"input_ids": ids, "pixel_values": pictures((side, side))}
    theirs = published.randomise(torch, theirs)
    published.check(torch, theirs, inputs, tmp_path_factory.mktemp("siglip"))


VISION = published.SIZES | {"image_size": 8, "patch_size": 4}
TEXT = published.SIZES | {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 6,
    "eos_token_id": 39,
}


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("CLIPVisionModel", "image"),
        ("CLIPVisionModelWithProjection", "image"),
        ("CLIPTextModel", "text"),
        ("CLIPTextModelWithProjection", "text"),
        ("SiglipVisionModel", "image"),
        ("SiglipTextModel", "text"),
    ],
)
def test_one_half_alone(name, inputs, tmp_path):
    theirs = getattr(transformers, name)
    config = theirs.config_class(**(VISION if inputs == "image" else TEXT))
    ids, mask = texts(6, 39)
    given = {"pixel_values": pictures((8, 8))} if inputs == "image" else {"input_ids": ids}
    if name.startswith("CLIPText"):
        given["attention_mask"] = mask
    published.check(torch, published.randomise(torch, theirs(config)), given, tmp_path)


@pytest.mark.parametrize("sides", [(12, 12), (8, 20), (4, 4)])
def test_pictures_of_another_size_interpolate_the_positions(sides, tmp_path):
    theirs = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**VISION))
    published.check(
        torch,
        published.randomise(torch, theirs),
        {"pixel_values": pictures(sides)},
        tmp_path,
        extra={"interpolate_pos_encoding": True},
    )


def test_gradients_of_clip_equal_those_of_torch(tmp_path):
    theirs = clip({"vision_config": VISION, "text_config": TEXT}, 39)
    ids, mask = texts(6, 39)
    inputs = {"input_ids": ids, "attention_mask": mask, "pixel_values": pictures((8, 8))}
    model = published.check(torch, theirs, inputs, tmp_path)
    (theirs(**inputs).logits_per_image ** 2).sum().backward()

    def loss(outputs):
        return jnp.sum(outputs["logits_per_image"] ** 2)

    found = published.gradients(
        model, {name: jnp.asarray(x.numpy()) for name, x in inputs.items()}, loss
    )
    expected = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    published.assert_close(found, expected)
