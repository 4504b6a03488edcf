"""Numbers of words and places that no table has are errors, in every architecture that reads."""

from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.preprocess import id_limits
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.variables import expected_shapes
from tests.interop import fakes

WORDS, PLACES = 40, 16
TEXT = fakes.SIZES | {"vocab_size": WORDS, "max_position_embeddings": PLACES}
VISION = fakes.SIZES | {"image_size": 16, "patch_size": 8}
BOTH = {"vision_config": VISION, "text_config": TEXT}
NAFLEX = {"vision_config": fakes.SIZES | {"num_patches": 4, "patch_size": 8}, "text_config": TEXT}
HALF = {"layers": 1, "attention_heads": 2, "ffn_dim": 16}
WHISPER = {f"{half}_{key}": size for half in ("encoder", "decoder") for key, size in HALF.items()}
WHISPER |= {"d_model": 8, "vocab_size": WORDS, "max_target_positions": PLACES}
AUDIO = {"window_size": 2, "num_mel_bins": 16, "spec_size": 32, "patch_size": 4}
AUDIO |= {"depths": [1], "num_attention_heads": [1], "patch_embeds_hidden_size": 6}
CLAP = {"audio_config": AUDIO | {"hidden_size": 6, "patch_stride": [4, 4]}, "text_config": TEXT}
OPEN_CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 8, "patch_size": 4, "width": 8, "layers": 1, "head_width": 4},
    "text_cfg": {"context_length": PLACES, "vocab_size": WORDS, "width": 8, "heads": 1},
}
# The architectures with a table of words: a config, and the tensors by which one is recognised.
ARCHITECTURES = {
    "bert": (TEXT, ()),
    "distilbert": ({"vocab_size": WORDS, "dim": 24, "n_layers": 1, "n_heads": 2}, ()),
    "roberta": (TEXT, ()),
    "clip": (BOTH, ()),
    "clip_text_model": (TEXT, ()),
    "siglip": (BOTH, ()),
    "siglip_text_model": (TEXT, ()),
    "siglip2": (NAFLEX, ()),
    "clap": (CLAP, ()),
    "clap_text_model": (TEXT, ()),
    "whisper": (WHISPER, ("model.decoder.embed_tokens.weight",)),
    "open_clip": ({"model_cfg": OPEN_CLIP}, ("logit_scale", "visual.conv1.weight")),
}


def architecture(name):
    config, tensors = ARCHITECTURES[name]
    weights = {tensor: SimpleNamespace(shape=()) for tensor in tensors}
    return architecture_of(
        Checkpoint(Path("a fake"), {"model_type": name} | config, weights), jnp.float32
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_number_of_a_row_has_its_limit(name):
    """The limits are the sizes of the tables in the layout of the files."""
    made = architecture(name)
    found = id_limits.limits(made)
    others = ("vision", "audio", "encoder")
    rows = {
        path.removesuffix("/embedding").split("/")[-1]: shape[0]
        for path, shape in expected_shapes(made).items()
        if shape and not set(others) & set(path.split("/"))
    }
    assert {n for n in made.inputs if n.endswith("_ids") or n == "text"} == set(found)
    tables = {"position_ids": "positions", "token_type_ids": "token_types"}
    tables |= {"input_ids": "words", "text": "words"}
    for option, count in found.items():
        assert count == rows[tables[option.removeprefix("decoder_")]]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_numbers_outside_are_refused(name):
    made = architecture(name)
    for option, count in id_limits.limits(made).items():
        id_limits.check(made, {option: np.array([[0, count - 1]])})
        # What becomes a number of a row when it is cut to 32 bits is outside, too.
        for wrong in (count, -1, 2**32 + 1):
            with pytest.raises(UserError, match=f"{option}: {wrong} at .0, 1., but there are 0 to"):
                id_limits.check(made, {option: np.array([[0, wrong]], np.int64)})
        with pytest.raises(UserError, match=f"{option}: whole numbers are expected"):
            id_limits.check(made, {option: np.array([[0.0]])})


@pytest.mark.parametrize("grid", [[0, 2], [2, 3], [-1, -1], [2**31, 2]])
def test_grids_hold_no_more_patches_than_there_are(grid):
    made = architecture("siglip2")
    given = {"pixel_values": np.zeros((2, 4, 192)), "spatial_shapes": np.array([[2, 2], [1, 3]])}
    id_limits.check(made, given)
    given["spatial_shapes"] = np.array([[2, 2], grid], np.int64)
    with pytest.raises(UserError, match="of image 1 are not 1 to 4 patches"):
        id_limits.check(made, given)


def test_a_loaded_model_refuses_them(tmp_path):
    fakes.write_clip(tmp_path)
    model = interop.load(tmp_path)
    ids = np.array([[0, 5, 1]])
    assert model(input_ids=ids).text_embeds.shape == (1, 16)
    with pytest.raises(UserError, match="input_ids: 40 at .0, 1., but there are 0 to 39"):
        model(input_ids=np.array([[0, 40, 1]]))
    with pytest.raises(UserError, match="position_ids: -1 at"):
        model(input_ids=ids, position_ids=np.array([[0, 1, -1]]))
    with pytest.raises(UserError, match=r"attention_mask: \[1, 1\], but input_ids are \[1, 3\]"):
        model(input_ids=ids, attention_mask=np.ones((1, 1), np.int32))
    with pytest.raises(UserError, match="input_ids: -2 at"):
        model.module.apply(model.variables, jnp.array([[0, -2, 1]]))
