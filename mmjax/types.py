"""The contracts every room shares: tokens, fused states, batch keys.

Axis glossary, used in every signature:
B examples, R rows of a shared input (R = B unless several examples share one), N tokens, D width,
H heads, K head width, L text length, T frames, S audio samples, F mel bins, M modalities,
V vocabulary, E embedding width, C classes. In `[B H W 3]`, H and W are height and width in pixels.

Masks are True where content is real. What is masked contributes exactly nothing: no bit of an
output depends on it, its gradient is exactly zero, and an all-masked row gives finite values.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int, Shaped

# Keys of a batch besides the modalities themselves. For a modality "image" a batch may hold
# "image" [R ...], "image_mask" and "image_index" [B] (the row that each example uses).
MASK = "_mask"  # Bool[B]: False for the rows that pad a ragged last batch
SLICE = "slice"  # Int[B]: the kind of question; metrics are also reported by slice
# "targets/NAME" [B ...]: what is asked for, and "targets/NAME_mask" Bool[B ...]: where it is known.
TARGETS = "targets/"
# "image_id" Int[B], for any modality: rows of the same number have the same content.
# Under `jax.pmap` the axis of the devices, each of which has some rows of a batch.
DEVICES = "batch"


class Input(NamedTuple):
    """One raw modality as an encoder takes it.

    value: image uint8 [R H W 3], text int32 [R L], audio float32 [R S], video uint8 [R T H W 3],
        vector float32 [R F], series float32 [R T F].
    mask: True where real: Bool[R] for images (present or not), Bool[R L] for text,
        Bool[R S] for audio, Bool[R T] for video and series, Bool[R F] for vectors. None: all real.
    index: Int[B], the row that each example uses. None: example i uses row i.
    id: Int[B], the number of each example's content: the same number, the same content. None: not
        known.
    """

    value: Shaped[Array, "R ..."]
    mask: Bool[Array, "R ..."] | None = None
    index: Int[Array, " B"] | None = None
    id: Int[Array, " B"] | None = None


class Tokens(NamedTuple):
    """A sequence of vectors for each example; `mask` is True where a token is real."""

    x: Float[Array, "B N D"]
    mask: Bool[Array, "B N"]


class Rows(NamedTuple):
    """One value for each row of a batch, and which rows count: what a loss or a metric comes to."""

    value: Float[Array, " B"]
    mask: Bool[Array, " B"]


class Fused(NamedTuple):
    """What a fusion returns: its tokens and one vector for each example.

    extras: whatever else a loss or a reader may want, by name, each with a leading axis B: the
        posterior of a variational fusion, the weights of a gate. A model puts them out beside the
        outputs of its heads, as "fusion/NAME".
    """

    tokens: Tokens
    pooled: Float[Array, "B D"]
    extras: Mapping[str, Float[Array, "B ..."]] = {}


Batch = Mapping[str, jax.Array]
