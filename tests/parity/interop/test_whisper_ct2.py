"""Whisper from CTranslate2 against transformers: all outputs, the words, and given back to it."""

import json

import numpy as np
import pytest

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.architectures.audio.whisper_ct2 import save_as_transformers
from mmjax.interop.speech.generate import generate
from tests.interop.formats.files import ctranslate2
from tests.parity.interop import published

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.parity.interop.test_whisper import (  # noqa: E402
    NO_CACHE,
    NO_TIMES,
    SMALL,
    VOCABULARY,
    drawn_model,
    spectrograms,
    words,
)


def as_ctranslate2(theirs, dtype):
    """The tensors of a model under the names of CTranslate2."""
    state = {name: x.numpy() for name, x in theirs.model.state_dict().items()}
    found = {"decoder/embeddings/weight": state["decoder.embed_tokens.weight"]}
    for name in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            found[f"encoder/{name}/{part}"] = state[f"encoder.{name}.{part}"]

    def norm(ours, name):
        for part, part_name in (("gamma", "weight"), ("beta", "bias")):
            found[f"{ours}/{part}"] = state[f"{name}.{part_name}"]

    def linear(ours, *names):
        weights = [state[f"{name}.weight"] for name in names]
        none = np.zeros(len(weights[0]), np.float32)
        found[f"{ours}/weight"] = np.concatenate(weights)
        found[f"{ours}/bias"] = np.concatenate([state.get(f"{name}.bias", none) for name in names])

    for half in ("encoder", "decoder"):
        found[f"{half}/position_encodings/encodings"] = state[f"{half}.embed_positions.weight"]
        norm(f"{half}/layer_norm", f"{half}.layer_norm")
        for layer in range(getattr(theirs.config, f"{half}_layers")):
            ours, name = f"{half}/layer_{layer}", f"{half}.layers.{layer}"
            own, other = f"{name}.self_attn", f"{name}.encoder_attn"
            norm(f"{ours}/self_attention/layer_norm", f"{own}_layer_norm")
            linear(f"{ours}/self_attention/linear_0", *(f"{own}.{part}_proj" for part in "qkv"))
            linear(f"{ours}/self_attention/linear_1", f"{own}.out_proj")
            if half == "decoder":
                norm(f"{ours}/attention/layer_norm", f"{other}_layer_norm")
                linear(f"{ours}/attention/linear_0", f"{other}.q_proj")
                linear(f"{ours}/attention/linear_1", f"{other}.k_proj", f"{other}.v_proj")
                linear(f"{ours}/attention/linear_2", f"{other}.out_proj")
            norm(f"{ours}/ffn/layer_norm", f"{name}.final_layer_norm")
            linear(f"{ours}/ffn/linear_0", f"{name}.fc1")
            linear(f"{ours}/ffn/linear_1", f"{name}.fc2")
    found = {name: x.astype(dtype) for name, x in found.items()}
    for half in ("encoder", "decoder"):
        heads = getattr(theirs.config, f"{half}_attention_heads")
        found[f"{half}/num_heads"] = np.array(heads, np.int16)
    found["decoder/activation"] = np.array(3, np.int8)
    return found


def write_ctranslate2(folder, arrays):
    alias = [("decoder/projection/weight", "decoder/embeddings/weight")]
    (folder / "model.bin").write_bytes(ctranslate2(arrays, alias))
    (folder / "config.json").write_text(json.dumps({"suppress_ids": [11], "lang_ids": [4, 5]}))
    said = [f"w{i}" for i in range(VOCABULARY)]
    said[2:4] = ["<|endoftext|>", "<|startoftranscript|>"]
    said[7:9] = ["<|transcribe|>", "<|translate|>"]
    said[NO_TIMES] = "<|notimestamps|>"
    (folder / "vocabulary.txt").write_text("\n".join(said) + "\n")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_ctranslate2_and_back_to_transformers(dtype, tmp_path):
    theirs = drawn_model(SMALL)
    if dtype == np.float16:
        theirs = theirs.half().float()
    write_ctranslate2(tmp_path, as_ctranslate2(theirs, dtype))
    inputs = {"input_features": spectrograms(SMALL), "decoder_input_ids": words(5)}
    with torch.no_grad():
        expected = published.as_numpy(theirs(**inputs, **NO_CACHE, **published.HIDDEN))
    model = interop.load(tmp_path)
    assert not model.report.unexpected
    published.assert_close(model(**published.as_arrays(inputs), **published.HIDDEN), expected)

    save_as_transformers(model, tmp_path / "ours")
    again, notes = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not notes["missing_keys"], notes
    assert not notes["unexpected_keys"], notes
    with torch.no_grad():
        returned = published.as_numpy(again.eval()(**inputs, **NO_CACHE, **published.HIDDEN))
    published.assert_close(returned, expected, 1e-6)
    x = spectrograms(SMALL)
    said = again.generate(x, num_beams=1, do_sample=False, max_new_tokens=6).numpy()
    for same in (model, interop.load(tmp_path / "ours")):
        np.testing.assert_array_equal(generate(same, x.numpy(), max_new_tokens=6), said)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decoder/activation": np.array(0, np.int8)}, "activation is 0, in Whisper 3"),
        ({"decoder/alibi": np.array(1, np.int8)}, "alibi is 1, in Whisper 0"),
        ({"encoder/num_heads": np.array(5, np.int16)}, "does not split into 5 heads"),
        ({"encoder/num_heads": None}, "encoder/num_heads missing"),
        ({"decoder/layer_1/attention/linear_2/bias": None}, "linear_2/bias"),
        ({"decoder/layer_0/ffn/linear_1/weight": np.zeros((12, 18), np.int8)}, "quantised"),
    ],
)
def test_another_model_of_ctranslate2_is_refused(changed, message, tmp_path):
    arrays = as_ctranslate2(drawn_model(SMALL), np.float32) | changed
    arrays = {name: x for name, x in arrays.items() if x is not None}
    write_ctranslate2(tmp_path, arrays)
    with pytest.raises(UserError, match=message) as error:
        interop.load(tmp_path)
    assert "\n" not in str(error.value)
