"""Errors that users see: one line that says what, where and what to do."""

import contextlib
import difflib
from collections.abc import Iterator, Sequence

MAX_LETTERS = 2000  # of a message
MAX_QUOTED = 200  # letters of another library's error in a message
PANIC = "PanicException"  # of libraries in Rust (pyo3), which is no Exception


class UserError(Exception):
    """The user's mistake: one line that says what, where and what to do. Exit code 2.

    What a file puts into a message may have lines and any length: it is one line all the same, and
    what is longer than MAX_LETTERS loses its middle.
    """

    def __init__(self, message: str):
        line = " ".join(message.splitlines())
        if len(line) > MAX_LETTERS:
            line = f"{line[: MAX_LETTERS - 500]} … {line[-490:]}"
        super().__init__(line)


def nearest(name: str, known: Sequence[str]) -> str:
    """' did you mean X? ' and the list of what there is."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}There is: {', '.join(sorted(known)) or 'none'}"


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
        said = " ".join(str(error).split())[:MAX_QUOTED] or "no more is said"
        raise UserError(f"{what} ({type(error).__name__}: {said}); {advice}") from error
