"""mmjax: cross-modal learning in JAX. `mmjax.load(workdir)` gives a trained model as a function."""

import importlib
import importlib.util

__version__ = "0.1.0"


def __getattr__(name):
    """A module of the package, such as `mmjax.build`; imported only now, as the functions below."""
    if name.startswith("_") or importlib.util.find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def load(workdir, **options):
    """Loads the model trained in `workdir`; see `mmjax.predictor.load`."""
    from mmjax import predictor  # Imported late, so that `import mmjax` does not start jax.

    return predictor.load(workdir, **options)


def pretrained(path, **options):
    """The entry of a config for somebody's checkpoint; see `mmjax.build.pretrained.pretrained`."""
    from mmjax.build import pretrained as module

    return module.pretrained(path, **options)
