import jax
import jax.numpy as jnp
import numpy as np

from mmjax.nn.layers.mixup import mixup

KEY = jax.random.PRNGKey(0)
X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)), jnp.float32)
ALL = jnp.ones(8, bool)


def test_it_is_between_a_row_and_its_partner():
    mixed, partner, share = mixup(KEY, X, mask=ALL, alpha=1.0)
    assert sorted(partner.tolist()) == list(range(8))
    assert ((share >= 0.5) & (share <= 1)).all()
    expected = [s * X[i] + (1 - s) * X[p] for i, (p, s) in enumerate(zip(partner, share))]  # noqa: B905
    np.testing.assert_allclose(mixed, jnp.stack(expected), rtol=1e-6)


def test_what_is_masked_is_nobodys_partner_and_reaches_nothing():
    mask = jnp.arange(8) % 3 > 0

    def real(x):
        return jnp.where(mask[:, None], mixup(KEY, x, mask=mask, alpha=1.0)[0], 0)

    broken = jnp.where(mask[:, None], X, jnp.nan)
    np.testing.assert_array_equal(real(X), real(broken))
    gradient = jax.grad(lambda x: (real(x) ** 2).sum())(broken)
    assert (gradient[~mask] == 0).all()
    assert np.isfinite(gradient).all()
    _, partner, share = mixup(KEY, X, mask=mask, alpha=1.0)
    assert (share[~(mask & mask[partner])] == 1).all()
    assert (share[mask & mask[partner]] < 1).any()


def test_nothing_is_mixed_alone_or_where_all_is_masked():
    for x, mask in ((X[:1], ALL[:1]), (X, ~ALL)):
        mixed, _, _ = mixup(KEY, x, mask=mask, alpha=1.0)
        np.testing.assert_allclose(mixed, x, rtol=1e-6)


def test_a_small_alpha_mixes_little_and_shares_follow_the_beta_distribution():
    many = jnp.zeros((20_000, 1))
    real = jnp.ones(20_000, bool)
    means = [float(mixup(KEY, many, mask=real, alpha=a)[2].mean()) for a in (0.05, 1.0, 1e4)]
    # E max(u, 1 - u) is 3/4 for the uniform distribution.
    assert means[0] > 0.95
    np.testing.assert_allclose(means[1], 0.75, atol=0.005)
    np.testing.assert_allclose(means[2], 0.5, atol=0.01)


def test_the_type_stays():
    assert mixup(KEY, X.astype(jnp.bfloat16), mask=ALL, alpha=1.0)[0].dtype == jnp.bfloat16
