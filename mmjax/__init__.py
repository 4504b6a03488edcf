"""mmjax: cross-modal learning in JAX. `mmjax.load(workdir)` gives a trained model as a function."""

import importlib
import importlib.util

__version__ = "0.1.0"


def __getattr__(name):
    """A module such as `mmjax.factory`; imported only now, as the functions below."""
    if name.startswith("_") or importlib.util.find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def load(workdir, **options):
    """Loads the model trained in `workdir`; see `mmjax.inference.loading.load`."""
    from mmjax.inference import loading

    return loading.load(workdir, **options)


def fit(data, /, **options):
    """Trains on a table and gives the model; see `mmjax.inference.fitting.fit`."""
    from mmjax.inference import fitting

    return fitting.fit(data, **options)


def cross_validate(data, /, **options):
    """Trains once for each fold of a table; see `mmjax.inference.fitting.cross_validate`."""
    from mmjax.inference import fitting

    return fitting.cross_validate(data, **options)


def pretrained(path, **options):
    """The entry of a config for a checkpoint; see `mmjax.factory.checkpoints.pretrained`."""
    from mmjax.factory.checkpoints import pretrained as module

    return module.pretrained(path, **options)
