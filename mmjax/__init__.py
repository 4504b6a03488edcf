"""mmjax: cross-modal learning in JAX. `mmjax.load(workdir)` gives a trained model as a function."""

__version__ = "0.1.0"


def load(workdir, **options):
    """Loads the model trained in `workdir`; see `mmjax.predictor.load`."""
    from mmjax import predictor  # Imported late, so that `import mmjax` does not start jax.

    return predictor.load(workdir, **options)


def pretrained(path, **options):
    """The entry of a config for somebody's checkpoint; see `mmjax.build.pretrained.pretrained`."""
    from mmjax.build import pretrained as module

    return module.pretrained(path, **options)
