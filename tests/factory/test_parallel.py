"""What config.parallel = "pmap" refuses, before anything starts."""

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from mmjax import cli, factory
from mmjax.errors import UserError
from mmjax.factory import parallel


def config_of(name, **changes):
    return factory.checked(ConfigDict(cli.load_config(f"{name}:tiny").to_dict() | changes))


def test_negatives_from_the_whole_batch_are_refused():
    parallel.check(config_of("align", matching="concat"))
    parallel.check(config_of("align", parallel="pmap"))
    with pytest.raises(UserError, match=r"config.matching draws negatives.*parallel='auto'"):
        parallel.check(config_of("align", matching="concat", parallel="pmap"))


def test_an_old_jax_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "__version_info__", (0, 7, 2))
    parallel.check(config_of("fusion"))
    with pytest.raises(UserError, match=r"needs jax 0.8 or later"):
        parallel.check(config_of("fusion", parallel="pmap"))


def test_an_output_without_rows_is_refused():
    outputs = {"temperature": jnp.zeros(()), "label": jnp.zeros((1, 3)), "table": jnp.zeros((7, 1))}
    parallel.check_outputs(config_of("fusion"), outputs)
    with pytest.raises(UserError, match=r"'table' \[7, 1\] of one example has no row for it"):
        parallel.check_outputs(config_of("fusion", parallel="pmap"), outputs)
    del outputs["table"]
    parallel.check_outputs(config_of("fusion", parallel="pmap"), outputs)
