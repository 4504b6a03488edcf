"""Weight files of PyTorch and transformers read as their own libraries read them, and back."""

import collections
import os
import zipfile

import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.interop.formats.open_weights import open_weights
from mmjax.interop.formats.safetensors import write
from tests.interop.formats import files

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity

TYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"]
TYPES += ["bool", "complex64"]
NEW_TYPES = ["uint16", "uint32", "float8_e4m3fn", "float8_e5m2"]


def tensor(shape, kind):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 5
    return values.to(getattr(torch, kind))


def views():
    """Tensors of every type, and views of shared storages that are not in order."""
    base = tensor((6, 5), "float32")
    found = {kind: tensor((3, 4), kind) for kind in TYPES}
    found |= {
        "scalar": tensor((), "bfloat16"),
        "empty": tensor((0, 3), "float16"),
        "base": base,
        "transposed": base.T,
        "slice": base[1:4, ::2],
        "flipped twice": base.flip(0).permute(1, 0),
        "row": base[3],
        "diagonal": base.diagonal(),
        "expanded": base[:, :1].expand(6, 7),
        "half base": tensor((4, 4), "bfloat16")[1:, 1:],
        "permuted": tensor((2, 3, 4), "int8").permute(2, 0, 1),
        "windows": base.reshape(-1).unfold(0, 4, 2),
    }
    return found


def as_numpy(value):
    """The array with the same bits: torch has no NumPy for bfloat16 and float8."""
    value = value.detach().contiguous()
    dtype = np.dtype(files.BF16) if value.dtype == torch.bfloat16 else None
    name = str(value.dtype).removeprefix("torch.")
    if name.startswith("float8"):
        import ml_dtypes

        dtype = np.dtype(getattr(ml_dtypes, name))
    if dtype is None:
        return value.numpy()
    shape = tuple(value.shape)
    bits = value.reshape(-1).view(torch.uint8 if dtype.itemsize == 1 else torch.int16).numpy()
    return bits.view(dtype).reshape(shape)


def saved(path, value, *, new=True):
    torch.save(value, path, _use_new_zipfile_serialization=new)
    return files.contents(open_weights(path))


@pytest.mark.parametrize("new", [True, False])
def test_every_view_and_type_reads_bit_for_bit(tmp_path, new):
    state = views()
    if new:
        state |= {kind: tensor((3, 4), kind) for kind in NEW_TYPES}
    found = saved(tmp_path / "x.pt", state, new=new)
    files.assert_same(found, {name: as_numpy(value) for name, value in state.items()})


@pytest.mark.parametrize("new", [True, False])
def test_a_training_checkpoint_reads_as_torch_reads_it(tmp_path, new):
    model = torch.nn.Sequential(
        collections.OrderedDict(a=torch.nn.Linear(3, 4), norm=torch.nn.BatchNorm1d(4))
    )
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "model_state": model.state_dict(),
        "tied": model.a.weight.detach(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "best": np.float64(0.5),
        "means": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "attributed": with_attribute(torch.ones(3)),
        "counts": collections.Counter("abca"),
        "lists": collections.defaultdict(list, {"x": [torch.zeros(1)]}),
        "shape": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "type": torch.bfloat16,
        "kinds": {"a", "b"},
    }
    found = saved(tmp_path / "x.pt", checkpoint, new=new)
    expected = dict(flat(torch.load(tmp_path / "x.pt", weights_only=False)))
    files.assert_same(found, expected)
    assert {"model_state.norm.running_mean", "optimizer.state.0.exp_avg", "lists.x.0"} <= set(found)


def with_attribute(value):
    value.note = "text"
    return value


def flat(value, *path):
    if isinstance(value, torch.Tensor):
        yield ".".join(path), as_numpy(value)
    elif isinstance(value, np.ndarray):
        yield ".".join(path), value
    elif isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in pairs:
            yield from flat(child, *path, str(key))


def test_torchscript_gives_the_state_without_its_code(tmp_path):
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 2, bias=False), torch.nn.ReLU())
            self.scale = torch.nn.Parameter(torch.tensor(2.5).half())
            self.register_buffer("positions", torch.arange(4)[None])
            self.sizes = [1, 2]
            self.name = "block"

        def forward(self, x):
            return self.layers(x) * self.scale

    model = Block()
    for module in (torch.jit.script(model), torch.jit.trace(model, torch.ones(1, 3, 4, 4))):
        torch.jit.save(module, tmp_path / "x.pt")
        found = files.contents(open_weights(tmp_path / "x.pt"))
        expected = {name: as_numpy(value) for name, value in model.state_dict().items()}
        files.assert_same({name: found[name] for name in expected}, expected)
        assert len(found) == len(expected)


def test_checksums_that_torch_left_out_are_not_missed(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(5)}, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert {info.CRC for info in archive.infolist()} == {0}
    found = files.contents(open_weights(tmp_path / "x.pt"))
    files.assert_same(found, {"a": np.arange(5)})


class Runs:
    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_an_object_that_runs_code_when_torch_loads_it_does_not_here(tmp_path, new, nested):
    marker = tmp_path / "ran"
    for function, wanted in ((os.system, "system"), (eval, "eval"), (open, "open")):
        arguments = {
            os.system: (f"touch {marker}",),
            eval: (f"open({str(marker)!r}, 'w').close()",),
            open: (str(marker), "w"),
        }
        value = Runs(function, *arguments[function])
        value = {"w": torch.ones(2), "x": value} if nested else value
        with pytest.raises(UserError, match=rf"wants to run '.*{wanted}'"):
            saved(tmp_path / "x.pt", value, new=new)
        assert not marker.exists()
        if function is eval:  # torch does run it, so the file is what it seems
            torch.load(tmp_path / "x.pt", weights_only=False)
            assert marker.exists()
            marker.unlink()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("new", [True, False])
def test_a_whole_model_is_refused_by_name(tmp_path, new):
    with pytest.raises(UserError, match=r"torch\.nn\.modules\.linear\.Linear"):
        saved(tmp_path / "x.pt", torch.nn.Linear(2, 3), new=new)


def test_sparse_and_quantized_tensors_are_refused_by_name(tmp_path):
    sparse = torch.eye(3).to_sparse()
    with pytest.raises(UserError, match=r"'torch\._utils\._rebuild_sparse_tensor'"):
        saved(tmp_path / "x.pt", {"a": sparse})


def test_shards_of_transformers_are_read_and_ours_by_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=50, intermediate_size=32, **sizes)
    model = transformers.BertModel(config)
    model.save_pretrained(tmp_path / "theirs", max_shard_size="10KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 2
    found = files.contents(open_weights(tmp_path / "theirs"))
    state = {name: as_numpy(value) for name, value in model.state_dict().items()}
    names = [name for name in state if name in found]
    assert len(names) == len(found) > 30
    files.assert_same({name: found[name] for name in names}, {name: state[name] for name in names})
    config.save_pretrained(tmp_path / "ours")
    write(tmp_path / "ours" / "model.safetensors", found, shard_bytes=10_000)
    back, report = transformers.BertModel.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    again = {name: as_numpy(value) for name, value in back.state_dict().items()}
    files.assert_same(again, state)
