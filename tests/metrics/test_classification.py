import jax.numpy as jnp
import numpy as np
from sklearn.metrics import accuracy_score

from mmjax.metrics.classification import accuracy


def test_mean_equals_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(4, size=50)
    got = accuracy(jnp.array(logits), jnp.array(labels))
    assert got.shape == (50,)
    assert float(got.mean()) == np.float32(accuracy_score(labels, logits.argmax(-1)))


def test_a_tie_goes_to_the_lowest_index():
    assert accuracy(jnp.zeros((2, 3)), jnp.array([0, 2])).tolist() == [1.0, 0.0]
