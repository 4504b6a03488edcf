"""What the pickle of a PyTorch checkpoint describes, without PyTorch.

The functions that rebuild tensors are those of PyTorch's `torch/_utils.py`; each is replaced by one
that notes where the numbers lie.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from mmjax.errors import UserError
from mmjax.interop.formats.pickle_machine import Global, Meaning
from mmjax.interop.formats.pickled_numpy import NumpyArray, NumpyType, array
from mmjax.interop.formats.reading import File, shown

STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "ComplexFloatStorage": np.complex64,
    "ComplexDoubleStorage": np.complex128,
    "UntypedStorage": np.uint8,
}
# Types without a storage of their own: bytes, and the type beside them.
DTYPES = {
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "float8_e8m0fnu": ml_dtypes.float8_e8m0fnu,
}


class Storage(NamedTuple):
    """A run of bytes outside of the pickle: from byte `start` of what is called `key`."""

    key: str
    dtype: np.dtype
    byte_count: int
    start: int = 0
    whole_bytes: int = 0  # of what is called `key`


class Stored(NamedTuple):
    """A tensor in a storage; offset and strides in elements."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[Any, ...]
    strides: tuple[Any, ...]


class Record:
    """An object of a class that only TorchScript code would know: its attributes, no code."""

    def __init__(self) -> None:
        self.state: dict[Any, Any] | None = None


class LeftOut:
    """Something that is not an array: a setting, a path, a single number of NumPy's."""


WRONG = object()


def meaning(file: File, storages: dict[str, Storage]) -> Meaning:
    """What calls, states and outside names stand for in the checkpoints of PyTorch.

    Each storage that is named is put into `storages` under its key. Its functions raise UserError
    for anything else: a name that is called and is not in CALLS is refused, and the message has it.
    """
    return Meaning(
        call=partial(_call, file),
        build=partial(_build, file),
        persistent=partial(_outside, file, storages),
    )


def _refused(file: File, what: str) -> UserError:
    return UserError(
        f"{file.where}: {what}; nothing was run. Save only the weights:"
        " torch.save(model.state_dict(), …)"
    )


def _call(file: File, function: Global, arguments: tuple[Any, ...]) -> Any:
    if function.module == "__torch__" or function.module.startswith("__torch__."):
        return Record()
    if str(function) not in CALLS:
        raise _refused(file, f"wants to run {shown(str(function))}, which weights have no need of")
    result = CALLS[str(function)](arguments)
    if result is WRONG:
        raise file.damaged(f"calls {function} with the wrong arguments")
    return result


def _build(file: File, target: Any, state: Any) -> None:
    match target, state:
        case Record(state=None), dict():
            target.state = state
        case NumpyType(), (int(), str(order), *_):
            target.big = order == ">"
        case NumpyArray(), (
            _,
            tuple(shape),
            NumpyType() as dtype,
            fortran,
            bytes() | str() as data,
        ):
            raw = data.encode("latin-1", "replace") if isinstance(data, str) else data
            target.value = array(file, shape, dtype, bool(fortran), raw)
        case (NumpyArray(), (_, tuple(), NumpyType(), _, list())) | (LeftOut(), _):
            pass  # an array of Python objects, and settings
        case dict(), dict():
            pass  # the version numbers that a state_dict carries along
        case _:
            raise _refused(file, "wants to set the state of an object that is not of weights")


def _outside(file: File, storages: dict[str, Storage], name: Any) -> Storage:
    match name:
        case ("module", Global() as kind, *_):
            raise _refused(file, f"holds a whole {shown(str(kind))}, not only its weights")
    storage = _storage(name)
    if storage is None:
        raise file.damaged("names a storage that is none, or of an unknown type")
    if storages.setdefault(storage.key, storage).whole_bytes != storage.whole_bytes:
        raise file.damaged(f"its storage {shown(storage.key)} has two sizes")
    return storage


def _storage(name: Any) -> Storage | None:
    match name:
        case ("storage", Global(_, kind), key, _, int(count), *views) if kind in STORAGES:
            dtype = np.dtype(STORAGES[kind])
        case _:
            return None
    whole = count * dtype.itemsize
    match views:
        case [] | [None]:
            start, held = 0, whole
        case [(_, int(offset), int(size))]:
            start, held = offset * dtype.itemsize, size * dtype.itemsize
        case _:
            return None
    if not isinstance(key, str) or not 0 <= start <= start + held <= whole < 2**62:
        return None
    return Storage(key, dtype, held, start, whole)


def _tensor(arguments: tuple[Any, ...]) -> Any:
    match arguments:
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_):
            return Stored(storage, storage.dtype, offset, shape, strides)
    return WRONG


def _typed_tensor(arguments: tuple[Any, ...]) -> Any:
    match arguments:
        case (
            Storage() as storage,
            int(offset),
            tuple(shape),
            tuple(strides),
            _,
            _,
            Global() as t,
            *_,
        ):
            if t.module == "torch" and t.name in DTYPES:
                return Stored(storage, np.dtype(DTYPES[t.name]), offset, shape, strides)
    return WRONG


def _subclass(arguments: tuple[Any, ...]) -> Any:
    """A tensor of another class, or one with attributes: the tensor."""
    match arguments:
        case (Global() as rebuild, _, tuple(inner), *_):
            return TENSORS.get(str(rebuild), lambda _: WRONG)(inner)
    return WRONG


def _first(kind: type | tuple[type, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """The first argument as it is."""
    return lambda given: given[0] if given and isinstance(given[0], kind) else WRONG


def _mapping(arguments: tuple[Any, ...]) -> Any:
    match arguments:
        case ():
            return {}
        case (dict(items),):
            return dict(items)
        case (list(pairs),) if all(
            isinstance(p, list | tuple) and len(p) == 2 and isinstance(p[0], str | int)
            for p in pairs
        ):
            return dict(pairs)
    return WRONG


def _bytes(arguments: tuple[Any, ...]) -> Any:
    match arguments:
        case (str(text), "latin1" | "latin-1") if all(letter < "\u0100" for letter in text):
            return text.encode("latin-1")
    return WRONG


def _numpy_type(arguments: tuple[Any, ...]) -> Any:
    match arguments:
        case (str(code), *_):
            return NumpyType(code)
    return WRONG


TENSORS = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
}
CALLS = {
    **TENSORS,
    "torch._utils._rebuild_parameter": _first(Stored),
    "torch._utils._rebuild_parameter_with_state": _first(Stored),
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.Size": _first((tuple, list)),
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "collections.defaultdict": lambda _: {},
    # Dictionaries of settings, which training programs keep beside the weights.
    **dict.fromkeys(
        [
            "pytorch_lightning.utilities.parsing.AttributeDict",
            "lightning.pytorch.utilities.parsing.AttributeDict",
            "lightning_fabric.utilities.data.AttributeDict",
            "lightning.fabric.utilities.data.AttributeDict",
            "yacs.config.CfgNode",
            "easydict.EasyDict",
            "addict.addict.Dict",
        ],
        _mapping,
    ),
    "_codecs.encode": _bytes,
    "numpy.dtype": _numpy_type,
    **dict.fromkeys(
        [
            f"{module}.{kind}"
            for module in ("builtins", "__builtin__")
            for kind in ("set", "frozenset")
        ],
        _first(list),
    ),
    **dict.fromkeys(
        [f"torch.jit._pickle.build_{kind}list" for kind in ("int", "double", "bool", "tensor")],
        _first(list),
    ),
    "torch.jit._pickle.restore_type_tag": _first(object),
    **dict.fromkeys(
        ["numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"],
        lambda _: NumpyArray(),
    ),
    **dict.fromkeys(
        [
            "numpy.core.multiarray.scalar",
            "numpy._core.multiarray.scalar",
            "argparse.Namespace",
            "types.SimpleNamespace",
            "datetime.datetime",
            "datetime.timedelta",
            "uuid.UUID",
            "torch.torch_version.TorchVersion",
            "pathlib.PosixPath",
            "pathlib.WindowsPath",
            "torch.device",
            "torch.serialization._get_layout",
            "builtins.complex",
            "builtins.bytearray",
        ],
        lambda _: LeftOut(),
    ),
}
