"""SpecAugment (Park et al. 2019, https://arxiv.org/abs/1904.08779), without time warping."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.nn.layers.masking import zero_masked


def random_spans(
    key: jax.Array,
    count: int,
    widest: Int[Array, " B"],
    length: Int[Array, " B"],
    places: int,
) -> Bool[Array, "B places"]:
    """The union of `count` random spans for each row, each within the row's first `length` places.

    The width of a span is uniform over 0..min(widest, length), its start over where it fits.
    """
    widths, starts = jax.random.uniform(key, (2, length.shape[0], count))
    limit = jnp.minimum(widest, length)[:, None]
    # A product that rounds up to its bound would be one too wide.
    width = jnp.minimum(jnp.floor(widths * (limit + 1)), limit)
    room = length[:, None] - width
    start = jnp.minimum(jnp.floor(starts * (room + 1)), room)
    place = jnp.arange(places)
    inside = (place >= start[..., None]) & (place < (start + width)[..., None])
    return jnp.any(inside, axis=1)


def spec_augment(
    key: jax.Array,
    log_mel: Float[Array, "B T F"],
    mask: Bool[Array, "B T"],
    *,
    time_masks: int = 2,
    time_width: int = 100,
    time_share: float | int = 1.0,
    frequency_masks: int = 2,
    frequency_width: int = 27,
) -> Float[Array, "B T F"]:
    """Replaces random spans of frames and of mel bins by the mean of the example.

    The mean, over the real frames, is what the paper's zero is in its normalised spectrograms. The
    defaults are its policy "LibriSpeech double".

    Args:
        key: of the random spans; each example has its own.
        log_mel: spectrogram, zeros in masked frames.
        mask: which frames are real. Spans lie before the end of the last real one.
        time_masks, frequency_masks: number of spans of each kind.
        time_width: largest width of a span of frames.
        time_share: and its largest share of the frames of the example.
        frequency_width: largest width of a span of mel bins.

    Returns:
        [B T F], zeros in masked frames.
    """
    batch, length, bins = log_mel.shape
    time_key, frequency_key = jax.random.split(key)
    ends = jnp.max(jnp.where(mask, jnp.arange(1, length + 1), 0), axis=1)
    widest = jnp.minimum(time_width, jnp.floor(time_share * ends).astype(int))
    times = random_spans(time_key, time_masks, widest, ends, length)
    every = jnp.full((batch,), bins)
    widest = jnp.full((batch,), frequency_width)
    frequencies = random_spans(frequency_key, frequency_masks, widest, every, bins)
    count = jnp.maximum(jnp.sum(mask, axis=1), 1) * bins
    mean = (jnp.sum(zero_masked(log_mel, mask), axis=(1, 2)) / count)[:, None, None]
    hidden = times[:, :, None] | frequencies[:, None, :]
    return zero_masked(jnp.where(hidden, mean, log_mel), mask)
