"""From a path to a model as a function: a workdir, a converted model or a published checkpoint."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from mmjax import factory
from mmjax.data.own import stored
from mmjax.data.pipeline import scaling, tokenizer
from mmjax.errors import UserError
from mmjax.factory.checkpoints import joint, own, pretrained
from mmjax.factory.checkpoints.restore import restored
from mmjax.factory.config.asked import asked
from mmjax.factory.make_readers import file_inputs, input_axes, make_readers, text_encoders
from mmjax.factory.make_tasks import stored_vocabularies
from mmjax.inference import published, rows
from mmjax.inference.predictor import Predictor
from mmjax.train.checkpoints import workdir as workdirs

# modules.json lists the folders in which sentence-transformers may keep them.
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.pth.tar", "*.ckpt", "*.npz")
WEIGHTS += ("modules.json",)


def is_workdir(path: Path) -> bool:
    """Whether `mmjax.main` trained in a directory."""
    return (path / workdirs.LABELS_FILE).is_file() and workdirs.has_checkpoints(path)


def read_config(workdir: Path) -> ConfigDict:
    """The config of a workdir; raises UserError if it has none."""
    return factory.stored_config(workdir)


def is_portable(path: Path) -> bool:
    """Whether `mmjax.convert` wrote the whole model of a run to a directory."""
    return (path / workdirs.LABELS_FILE).is_file() and (path / own.FILE).is_file()


def is_published(path: Path) -> bool:
    """Whether a path is somebody's checkpoint: a file, or a directory of weights as no workdir."""
    return path.is_file() or any(any(path.glob(pattern)) for pattern in WEIGHTS)


def _columns(path: Path) -> stored.Known:
    """The columns of a run on a table; none of other runs."""
    file = path / workdirs.COLUMNS_FILE
    if not file.exists():
        return stored.Known({}, {})
    return stored.from_json(workdirs.read_json(file), str(file))


def load(
    workdir: str | Path, *, step: int | None = None, batch_size: int = 64
) -> Predictor | published.Published:
    """Loads the best checkpoint of a workdir, on any number of devices, or a published model.

    Of a workdir it needs neither the data set nor the config file. The checksums of all that it
    reads are checked; an older workdir, which has none, is read unchecked, with a warning.

    Args:
        workdir: a directory that `mmjax.main` trained in or that `mmjax.convert` wrote, or one with
            somebody's checkpoint, or a file (see `mmjax.inference.published.Published`).
        step: a checkpoint other than the best.
        batch_size: examples that run at once.

    Raises:
        UserError: no such workdir, no checkpoint in it, one that is damaged or does not fit.
    """
    path = Path(workdir).expanduser().absolute()
    portable = is_portable(path)
    if portable or is_published(path):
        if step is not None:
            kind = "one model" if portable else "a published checkpoint"
            raise UserError(f"{path} is {kind} and has no steps")
        if not portable:
            own.refuse(path)
            return published.load(path, batch_size=batch_size)
    workdirs.require_whole(path)
    config = read_config(path)
    vocabularies = stored_vocabularies(path, asked(config))
    classes = {name: len(words) for name, words in vocabularies.items()}
    kept = pretrained.checkpoints(config, path)
    file = path / workdirs.TOKENIZER_FILE
    encode, vocabulary_size = text_encoders(config, kept, lambda: tokenizer.load(file))
    known = _columns(path)
    scales = scaling.read(path / workdirs.SCALES_FILE)
    model = factory.model(
        config, classes=classes, vocabulary_size=vocabulary_size, checkpoints=kept
    )
    example = factory.example_inputs(config)
    shapes = jax.eval_shape(lambda key: model.init(key, example), jax.random.PRNGKey(0))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), shapes
    )
    variables = own.read(path, abstract) if portable else restored(config, path, abstract, step)
    readers = make_readers(config, encode, scales, kept)
    for name in known.inputs.keys() & readers.keys():
        readers[name] = rows.with_cells(readers[name], known.inputs[name], name)
    files = file_inputs(config)
    return Predictor(
        model=model,
        variables=variables,
        tasks=factory.tasks(config, vocabularies=vocabularies),
        vocabularies=vocabularies,
        readers=readers,
        axes=input_axes(config, encode),
        files=files,
        arrays=tuple(name for name in readers if name not in (*files, *encode)),
        known=known,
        config=config,
        directory=path,
        texts=next(iter(encode), "text"),
        logits=joint.logits_of(config, variables["params"]),
        batch_size=batch_size,
        tuned=workdirs.read_tuned(path, tuple(classes)),
    )
