"""The contracts every room shares: tokens, fused states, batch keys, errors.

Axis glossary, used in every signature:
B examples, R rows of a shared input (R = B unless several examples share one), N tokens, D width,
H heads, K head width, L text length, T frames, S audio samples, F mel bins, M modalities,
V vocabulary, E embedding width, C classes. In `[B H W 3]`, H and W are height and width in pixels.

Masks are True where content is real. What is masked contributes exactly nothing: no bit of an
output depends on it, its gradient is exactly zero, and an all-masked row gives finite values.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int, Shaped

# Keys of a batch besides the modalities themselves. For a modality "image" a batch may hold
# "image" [R ...], "image_mask" and "image_index" [B] (the row that each example uses).
MASK = "_mask"  # Bool[B]: False for the rows that pad a ragged last batch
LABEL = "label"  # Int[B]
GROUP = "group"  # Int[B]: the kind of question; metrics are also reported by group
MOST_LETTERS = 2000  # of a message
MOST_SAID = 200  # letters of another library's error in a message
PANIC = "PanicException"  # of libraries in Rust (pyo3), which is no Exception
TARGETS = "targets"  # Float[B C]: how right each class is, where more than one may be
# "image_id" Int[B], for any modality: rows of the same number have the same content.


class UserError(Exception):
    """The user's mistake: one line that says what, where and what to do. Exit code 2.

    What a file puts into a message may have lines and any length: it is one line all the same, and
    what is longer than MOST_LETTERS loses its middle.
    """

    def __init__(self, message: str):
        line = " ".join(message.splitlines())
        if len(line) > MOST_LETTERS:
            line = f"{line[: MOST_LETTERS - 500]} … {line[-490:]}"
        super().__init__(line)


@contextlib.contextmanager
def decoding(what: str, advice: str) -> Iterator[None]:
    """Whatever a decoder raises on a file or a table of somebody's comes out as one line.

    Decoders of other libraries raise anything on damaged input, some even what is no `Exception`
    (a panic in Rust). The line is "WHAT (the decoder's words); ADVICE". Also a decorator.

    Raises:
        UserError: for all but UserError itself, a missing package, and what ends a program.
    """
    try:
        yield
    except (UserError, ImportError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise  # what ends a program
        said = " ".join(str(error).split())[:MOST_SAID] or "no more is said"
        raise UserError(f"{what} ({type(error).__name__}: {said}); {advice}") from error


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
