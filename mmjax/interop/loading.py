"""From a checkpoint on the disk to a model in memory, and back."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import UserError
from mmjax.interop.architecture import FLAGS, Architecture, Checkpoint
from mmjax.interop.preprocess import id_limits
from mmjax.interop.weights import manifest, mmjax_format
from mmjax.interop.weights.checkpoint import copy_beside, open_checkpoint, write_weights
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.report import Report
from mmjax.interop.weights.variables import names_in_file, read_variables, rest_of, weights_of
from mmjax.models.data_parallel import DataParallel

DTYPES = {"bfloat16": jnp.bfloat16, "float16": jnp.float16, "float32": jnp.float32}


class Outputs(dict):
    """A dict whose entries are attributes, too, as those of transformers are."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"the outputs are {', '.join(self)}; there is no {name!r}")
        return self[name]


class Pretrained:
    """A published model: a function with the inputs and outputs of its original library.

    Attributes:
        config: its config.json.
        module, variables, params: the Linen module, all its variables, and its parameters.
        architecture: how it was built, and where its parameters lie in its files.
        report: what was loaded and what was left over.
        path: where it came from.
    """

    def __init__(
        self, checkpoint: Checkpoint, architecture: Architecture, variables: Any, report: Report
    ):
        self.config, self.path = checkpoint.config, checkpoint.path
        self.architecture, self.module = architecture, architecture.module
        self.variables, self.report = variables, report
        self.checkpoint, self.names = checkpoint, names_in_file(checkpoint, architecture)
        apply = self.module.apply
        self._apply = DataParallel(
            lambda v, x, **flags: apply(v, **x, **flags), static_argnames=FLAGS
        )

    @property
    def params(self) -> Any:
        return self.variables["params"]

    def __call__(self, *, output_hidden_states: bool = False, **inputs: Any) -> Outputs:
        """The outputs of the model in evaluation, by the names of the original library.

        All devices share the rows if they divide them (see `mmjax.models.data_parallel`).

        Args:
            output_hidden_states: whether to give those of all layers.
            inputs: by the names and in the layouts of the original library, anything that numpy
                takes: images [B 3 H W] float, ids [B L] whole numbers.

        Raises:
            UserError: an input that the model does not take, or of wrong shape or type, or numbers
                of words or places that are in no table of the model.
        """
        known = self.architecture.inputs
        example = self.architecture.example
        given = {name: np.asarray(value) for name, value in inputs.items() if value is not None}
        for name in given:
            if name not in known:
                raise UserError(f"{self.path}: no input {name!r}; there is {', '.join(known)}")
        if not given:
            raise UserError(f"{self.path}: give {' or '.join(example)}")
        arrays = {name: as_input(name, value, example.get(name)) for name, value in given.items()}
        id_limits.check(self.architecture, given)  # before 32 bits, which 2^32 does not fit into
        found = self._apply(self.variables, arrays, output_hidden_states=output_hidden_states)
        return attributes(found)


def attributes(tree: Any) -> Any:
    """Dicts become Outputs, at every depth."""
    if isinstance(tree, dict):
        return Outputs({name: attributes(value) for name, value in tree.items()})
    return tree


def as_input(name: str, value: Any, example: jax.ShapeDtypeStruct | None) -> jax.Array:
    """An input as an array; whole numbers and floats in 32 bits.

    Raises:
        UserError: other axes or another type than the example's.
    """
    array = np.asarray(value)
    whole = array.dtype.kind in "iub"
    if example is not None:
        wants_whole = np.issubdtype(example.dtype, np.integer)
        if array.ndim != len(example.shape) or whole != wants_whole:
            kind = "whole numbers" if wants_whole else "floats"
            raise UserError(
                f"{name}: {kind} with {len(example.shape)} axes are expected, such as"
                f" {list(example.shape)}; got {array.dtype} {list(array.shape)}"
            )
    return jnp.asarray(array, jnp.int32 if whole else jnp.float32)


def load(path: str | Path, *, dtype: str = "float32") -> Pretrained:
    """Loads a published model from a directory or a file.

    Args:
        path: with the files as their library saved them, or as `mmjax.convert` wrote them.
        dtype: of the computation, a name in DTYPES; the parameters are float32.

    Raises:
        UserError: no such path, a damaged file, a model that mmjax does not know, or one whose
            tensors are not what its config.json says. Nothing is half loaded.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r}: choose one of {', '.join(DTYPES)}")
    own = mmjax_format.find(Path(path).expanduser())
    checkpoint = open_checkpoint(path) if own is None else manifest.read(own.parent)
    architecture = architecture_of(checkpoint, DTYPES[dtype])
    if own is None:
        variables, report = read_variables(checkpoint, architecture)
    else:
        variables, report = mmjax_format.read(own, architecture)
    return Pretrained(checkpoint, architecture, variables, report)


def save(model: Pretrained, directory: str | Path, *, variables: Any = None) -> Path:
    """Saves a model so that its original library loads it: model.safetensors beside its configs.

    What was left over in its file, such as a head for another task, is written as it was. What a
    training program put around the model or beside it is not written.

    Args:
        model: as loaded.
        directory: is made if need be. The config, preprocessing and tokenizer files of the
            original are copied into it.
        variables: see `weights_of`.

    Returns:
        The file of the weights.

    Raises:
        UserError: the directory is the one that the model came from, or cannot be written.
    """
    directory = Path(directory).expanduser()
    source = model.path if model.path.is_dir() else model.path.parent
    if directory.exists() and directory.samefile(source):
        raise UserError(f"{directory} is where the model came from: choose another directory")
    directory.mkdir(parents=True, exist_ok=True)
    copy_beside(model.path, directory)
    # Of a model in our own layout nothing was left over, and only the sizes of the rest are known.
    left = model.report.unexpected or model.report.buffers
    rest = rest_of(model.checkpoint, model.architecture) if left else {}
    rest = {name: tensor.read() for name, tensor in rest.items()}
    return write_weights({**rest, **weights_of(model, variables)}, directory)
