"""Losses that make a student like a teacher; no gradient reaches the teacher."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

Number = float | Float[Array, ""]

SHORTEST = 1e-30  # the square of a length that has a direction; shorter ones would overflow


def distillation(
    logits: Float[Array, "B C"], teacher: Float[Array, "B C"], *, temperature: Number = 2.0
) -> Float[Array, " B"]:
    """T^2 KL(softmax(teacher / T) || softmax(logits / T)), in nats.

    T^2 keeps the gradient's size when the temperature T changes.

    Args:
        logits, teacher: unnormalised scores of the same classes.

    References:
        Hinton et al. 2015, https://arxiv.org/abs/1503.02531
    """
    student, target = (
        jax.nn.log_softmax(x.astype(jnp.float32) / temperature)
        for x in (logits, jax.lax.stop_gradient(teacher))
    )
    return temperature**2 * optax.losses.kl_divergence_with_log_targets(student, target)


def feature(
    features: Float[Array, " B *features"],
    teacher: Float[Array, " B *features"],
    *,
    normalise: bool = False,
) -> Float[Array, " B"]:
    """||features - teacher||^2 / 2, summed over all but the batch.

    Args:
        features: the student's, already mapped to the teacher's shape if theirs differ.
        normalise: divide both by their lengths first: 1 - the cosine. Zeros stay zeros.

    That of UMT, whose teachers each saw one modality, is 2 / D times this one: a mean over D
    features.

    References:
        Romero et al. 2015, https://arxiv.org/abs/1412.6550
        Du et al. 2023, https://arxiv.org/abs/2305.01233 (UMT)
    """
    student, target = (
        x.astype(jnp.float32).reshape(len(x), -1)
        for x in (features, jax.lax.stop_gradient(teacher))
    )
    if normalise:
        (_, student), (_, target) = map(_polar, (student, target))
    return jnp.sum((student - target) ** 2, axis=1) / 2


def relational(
    a: Float[Array, "B E"],
    teacher: Float[Array, "B D"],
    *,
    distance_weight: Number = 1.0,
    angle_weight: Number = 2.0,
    mask: Bool[Array, " B"] | None = None,
) -> Float[Array, " B"]:
    """w_d mean_j huber(d_ij - d'_ij) + w_a mean_jk huber(cos_jik - cos'_jik): RKD.

    d_ij is the distance of rows i and j over the mean distance in the batch, cos_jik the cosine of
    the angle at row i between rows j and k; those with ' are the teacher's. Over distinct rows
    only: a loss of 0 where there are none. Equal rows have no direction: their cosines are 0.
    Time and memory grow with B^3.

    Args:
        a, teacher: embeddings; their widths may differ.
        distance_weight, angle_weight: w_d and w_a.
        mask: whether a row counts; others contribute nothing and have a loss of 0.

    References:
        Park et al. 2019, https://arxiv.org/abs/1904.05068
    """
    mask = jnp.ones(len(a), bool) if mask is None else mask
    different = ~jnp.eye(len(a), dtype=bool)
    pairs = mask[:, None] & mask & different
    triples = pairs[:, :, None] & pairs[:, None, :] & different
    (distances, cosines), (target_distances, target_cosines) = (
        _relations(jnp.where(mask[:, None], x.astype(jnp.float32), 0), pairs)
        for x in (a, jax.lax.stop_gradient(teacher))
    )
    distance = optax.losses.huber_loss(distances, target_distances)
    angle = optax.losses.huber_loss(cosines, target_cosines)
    return distance_weight * _mean(distance, pairs) + angle_weight * _mean(angle, triples)


def _relations(
    x: Float[Array, "B E"], pairs: Bool[Array, "B B"]
) -> tuple[Float[Array, "B B"], Float[Array, "B B B"]]:
    """Distances between rows, of mean 1, and cosines of angles at each row."""
    distances, directions = _polar(x - x[:, None])
    mean = jnp.sum(distances, where=pairs) / jnp.maximum(jnp.sum(pairs), 1)
    cosines = jnp.einsum("ije,ike->ijk", directions, directions)
    return distances / jnp.where(mean > 0, mean, 1), cosines


def _polar(x: Float[Array, "*rows E"]) -> tuple[Float[Array, "*rows"], Float[Array, "*rows E"]]:
    """Lengths and directions; what has no length has neither a direction nor a gradient."""
    squares = jnp.sum(x**2, axis=-1)
    some = squares > SHORTEST
    lengths = jnp.sqrt(jnp.where(some, squares, 1))
    directions = jnp.where(some[..., None], x / lengths[..., None], 0)
    return jnp.where(some, lengths, 0), directions


def _mean(values: Float[Array, "B ..."], where: Bool[Array, "B ..."]) -> Float[Array, " B"]:
    """The mean of each row where it counts, 0 where nothing does."""
    axes = tuple(range(1, values.ndim))
    return jnp.sum(values, axis=axes, where=where) / jnp.maximum(jnp.sum(where, axis=axes), 1)
