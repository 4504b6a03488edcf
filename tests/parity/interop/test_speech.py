"""Silero VAD and Resemblyzer against PyTorch: drawn weights, the real file where there is one."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.encoding.encoder import PretrainedEncoder, part_of, preparation
from tests.parity.interop import published

torch = pytest.importorskip("torch")
audio_utils = pytest.importorskip("transformers.audio_utils")
safetensors = pytest.importorskip("safetensors.torch")


class Silero(torch.nn.Module):
    """The published network, one frame of 64 + 512 samples at a time."""

    def __init__(self, a=3, b=5, c=4, d=6, width=7):
        super().__init__()
        self.stft_conv = torch.nn.Conv1d(1, 258, 256, 128, bias=False)
        self.conv1 = torch.nn.Conv1d(129, a, 3, 1, 1)
        self.conv2 = torch.nn.Conv1d(a, b, 3, 2, 1)
        self.conv3 = torch.nn.Conv1d(b, c, 3, 2, 1)
        self.conv4 = torch.nn.Conv1d(c, d, 3, 1, 1)
        self.lstm_cell = torch.nn.LSTMCell(d, width)
        self.final_conv = torch.nn.Conv1d(width, 1, 1)

    def step(self, x, state):
        x = torch.nn.functional.pad(x[:, None], (0, 64), "reflect")
        x = self.stft_conv(x)
        x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = layer(x).relu()
        h, c = self.lstm_cell(x.squeeze(2), state)
        return torch.sigmoid(self.final_conv(h.relu()[..., None]))[:, 0, 0], (h, c)

    def forward(self, x):
        x = torch.nn.functional.pad(x, (64, -x.shape[1] % 512))
        state, found = None, []
        for start in range(0, x.shape[1] - 64, 512):
            probability, state = self.step(x[:, start : start + 576], state)
            found.append((state[0], probability))
        return {
            "last_hidden_state": torch.stack([h for h, _ in found], 1),
            "speech_probs": torch.stack([p for _, p in found], 1),
        }


class Speaker(torch.nn.Module):
    """Resemblyzer's network."""

    def __init__(self, bins=5, width=6, layers=3, embedding=8):
        super().__init__()
        self.similarity_weight = torch.nn.Parameter(torch.zeros(1))
        self.lstm = torch.nn.LSTM(bins, width, layers, batch_first=True)
        self.linear = torch.nn.Linear(width, embedding)

    def forward(self, mels):
        x, (hidden, _) = self.lstm(mels)
        raw = torch.relu(self.linear(hidden[-1]))
        return {"last_hidden_state": x, "pooler_output": raw / torch.norm(raw, dim=1, keepdim=True)}


def sounds(rows, samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, (rows, samples)).astype(np.float32)


def run(theirs, x):
    with torch.no_grad():
        return published.as_numpy(theirs(torch.tensor(x)))


sizes = st.integers(1, 12)


@published.DRAWN
@given(
    sizes=st.tuples(sizes, sizes, sizes, sizes, sizes),
    samples=st.sampled_from([1, 511, 512, 513, 2000, 2560]),
)
def test_silero_of_any_size_equals_torch_and_returns(sizes, samples, tmp_path_factory):
    theirs = published.randomise(torch, Silero(*sizes))
    folder, x = tmp_path_factory.mktemp("silero"), sounds(2, samples)
    safetensors.save_file(theirs.state_dict(), folder / "it.safetensors")
    model = interop.load(folder / "it.safetensors")
    expected = run(theirs, x)
    published.assert_close(model(input_values=x), expected)
    again = Silero(*sizes)
    again.load_state_dict(safetensors.load_file(interop.save(model, folder / "ours")), strict=True)
    published.assert_close(run(again, x), expected, 1e-7)


@published.DRAWN
@given(bins=sizes, width=sizes, layers=st.integers(1, 4), embedding=sizes, frames=sizes)
def test_speakers_of_any_size_equal_torch_and_return(
    bins, width, layers, embedding, frames, tmp_path_factory
):
    theirs = published.randomise(torch, Speaker(bins, width, layers, embedding))
    folder, x = tmp_path_factory.mktemp("speaker"), sounds(2, frames * bins).reshape(2, -1, bins)
    state = {"step": 3, "model_state": theirs.state_dict()}
    torch.save(state | {"optimizer_state": {"state": {0: torch.zeros(2)}}}, folder / "it.pt")
    model = interop.load(folder / "it.pt")
    assert list(model.report.unexpected) == ["similarity_weight"]
    expected = run(theirs, x)
    # A vector without a positive number cannot be of length one: NaN there, zeros here.
    expected["pooler_output"] = np.nan_to_num(expected["pooler_output"])
    found = model(mels=x, **published.HIDDEN)
    published.assert_close(found, expected)
    assert len(found["hidden_states"]) == layers + 1
    again, returned = Speaker(bins, width, layers, embedding), interop.weights_of(model)
    plain = {key.removeprefix("model_state."): torch.tensor(x) for key, x in returned.items()}
    assert again.load_state_dict(plain, strict=False).missing_keys == ["similarity_weight"]
    back = {key: np.nan_to_num(value) for key, value in run(again, x).items()}
    published.assert_close(back, expected, 1e-7)


def encoder_of(theirs, folder, width):
    """A recipe's encoder of waveforms, and its variables."""
    torch.save({"model_state": theirs.state_dict()}, folder / "it.pt")
    if isinstance(theirs, Silero):
        torch.save(theirs.state_dict(), folder / "it.pt")
    model = interop.load(folder / "it.pt")
    part = part_of(model.architecture, "audio", "here")
    module = PretrainedEncoder(part.module, preparation(part, "audio", model.checkpoint, {}), width)
    return module, {"params": {"backbone": model.params}}


NETWORKS = {"silero": (Silero, 7), "speaker": (Speaker, 6)}


@pytest.mark.parametrize("name", NETWORKS)
def test_masked_samples_are_read_by_none(name, tmp_path):
    """Tokens of a padded sound are those of the sound alone; of none at all they are zeros."""
    network, width = NETWORKS[name]
    module, variables = encoder_of(published.randomise(torch, network()), tmp_path, width)
    x, mask = sounds(2, 3 * 512), np.arange(3 * 512) < np.array([[1024], [0]])

    def apply(x):
        return module.apply(variables, x, jnp.asarray(mask))

    found = apply(jnp.asarray(x))
    other = apply(jnp.asarray(np.where(mask, x, 7.0).astype(np.float32)))
    np.testing.assert_array_equal(found.x, other.x)
    assert not found.x[1].any()
    alone = module.apply(variables, jnp.asarray(x[:1, :1024]))
    count = int(found.mask[0].sum())
    np.testing.assert_allclose(found.x[0, :count], alone.x[0, :count], atol=1e-6)
    gradient = jax.grad(lambda x: (apply(x).x ** 2).sum())(jnp.asarray(x))
    assert np.isfinite(gradient).all()
    assert not gradient[~mask].any()


@pytest.mark.parametrize("samples", [400, 1600, 1999])
def test_mels_are_librosas(samples, tmp_path):
    theirs = Speaker(40)
    torch.save({"model_state": theirs.state_dict()}, tmp_path / "it.pt")
    model = interop.load(tmp_path / "it.pt")
    part = part_of(model.architecture, "audio", "here")
    x = sounds(1, samples)
    prepare = preparation(part, "audio", model.checkpoint, {})
    inputs, real = prepare(jnp.asarray(x), None)
    expected = audio_utils.spectrogram(
        x[0].astype(np.float64),
        audio_utils.window_function(400, "hann"),
        frame_length=400,
        hop_length=160,
        power=2.0,
        pad_mode="constant",
        mel_filters=audio_utils.mel_filter_bank(
            201, 40, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney"
        ),
    ).T
    assert real.all()
    np.testing.assert_allclose(inputs["mels"][0], expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def files():
    """Of the package silero-vad, which is not imported: it would need more packages."""
    found = importlib.util.find_spec("silero_vad")
    if found is None:
        pytest.skip("needs the package: pip install --no-deps silero-vad")
    return Path(found.submodule_search_locations[0]) / "data"


def real_sound():
    """Noise, a tone and silence: 15 frames."""
    tone = 0.3 * np.sin(np.arange(6 * 512) * 2 * np.pi * 220 / 16_000)
    return np.concatenate([sounds(1, 6 * 512)[0], tone, np.zeros(3 * 512)]).astype(np.float32)


def test_the_published_torchscript_equals_itself(files):
    theirs, x = torch.jit.load(files / "silero_vad.jit").eval(), real_sound()
    with torch.no_grad():
        expected = [float(theirs(torch.tensor(part)[None], 16_000)) for part in x.reshape(-1, 512)]
    model = interop.load(files / "silero_vad.jit")
    assert not any(name.startswith("_model.") for name in model.report.unexpected)
    np.testing.assert_allclose(model(input_values=x[None])["speech_probs"][0], expected, atol=1e-5)


def test_the_published_safetensors_equal_torch(files):
    theirs = Silero(128, 64, 64, 128, 128)
    theirs.load_state_dict(safetensors.load_file(files / "silero_vad_16k.safetensors"))
    model = interop.load(files / "silero_vad_16k.safetensors")
    x = real_sound()[None]
    published.assert_close(model(input_values=x), run(theirs, x), 1e-5)


def test_other_sizes_are_refused_in_one_line(tmp_path):
    state = Silero().state_dict() | {"stft_conv.weight": torch.zeros(130, 1, 128)}
    safetensors.save_file(state, tmp_path / "it.safetensors")
    with pytest.raises(UserError, match="only the model for 16 kHz"):
        interop.load(tmp_path / "it.safetensors")
    torch.save({"model_state": Speaker().state_dict()}, tmp_path / "it.pt")
    with pytest.raises(UserError, match="4 bins, but the model takes 5"):
        interop.load(tmp_path / "it.pt")(mels=np.zeros((1, 3, 4), np.float32))
