"""Pickle streams, read as data: nothing is imported and nothing that a file names is called.

A pickle is a program for a stack machine (https://docs.python.org/3/library/pickletools.html).
Python's own reader imports what the program names before anyone can look, hashes whatever it is
told to and allocates what it is told to. This one knows the instructions that build lists,
dictionaries, numbers and texts; a name stays a `Global`, and what "calling" one means is a function
argument.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from mmjax.interop.formats.reading import Stream

MAX_STEPS = 10_000_000


class Global(NamedTuple):
    """A name that a pickle wants to import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Meaning(NamedTuple):
    """What the instructions stand for that would run code in Python's reader.

    call: a global and its arguments -> the object made of them (also what `__new__` would make).
    build: an object and its state; `__setstate__` in Python.
    persistent: the name of something outside of the pickle -> that thing.
    """

    call: Callable[[Global, tuple[Any, ...]], Any]
    build: Callable[[Any, Any], None]
    persistent: Callable[[Any], Any]


CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False}
NEW = {b"}": dict, b"]": list, b")": tuple, b"\x8f": list}  # a set is read as a list
NUMBERS = {b"J": "i", b"K": "B", b"M": "H", b"G": ">d"}
TEXTS = {b"X": "I", b"\x8c": "B", b"\x8d": "Q"}
# The texts of Python 2 are bytes; one byte is one letter.
OLD_TEXTS = {b"T": "i", b"U": "B"}
BYTES = {b"B": "I", b"C": "B", b"\x8e": "Q", b"\x96": "Q"}
LONGS = {b"\x8a": "B", b"\x8b": "i"}
TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
PUTS = {b"q": "B", b"r": "I"}
GETS = {b"h": "B", b"j": "I"}
KEYS = (str, int, float, bool, bytes, type(None), Global)


def load(stream: Stream, meaning: Meaning) -> Any:
    """The object that the pickle at this place of the stream describes.

    Its time and memory are proportional to the bytes of the stream, whatever these say.

    Raises:
        UserError: by `stream.fail`, for anything that is not a whole pickle of these instructions,
            and what `meaning` raises.
    """
    return _Machine(stream, meaning).run()


class _Machine:
    def __init__(self, stream: Stream, meaning: Meaning) -> None:
        self.stream, self.meaning = stream, meaning
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}
        self.work = 0
        self.most_work = min(MAX_STEPS, 1000 + 8 * stream.size)

    def run(self) -> Any:
        stream = self.stream

        def push(value):  # the stack is another list after each mark
            self.stack.append(value)

        steps = {
            b"(": self._mark,
            b"0": lambda: self._pop() if self.stack else self._to_mark(),
            b"1": self._to_mark,
            b"2": lambda: push(self._top()),
            b"a": lambda: self._append([self._pop()]),
            b"b": self._build,
            b"c": lambda: push(Global(stream.line(), stream.line())),
            b"d": lambda: push(self._set({}, self._to_mark())),
            b"e": lambda: self._append(self._to_mark()),
            b"l": lambda: push(self._to_mark()),
            b"s": lambda: self._set_on_top([self._pop(), self._pop()][::-1]),
            b"t": lambda: push(tuple(self._to_mark())),
            b"u": lambda: self._set_on_top(self._to_mark()),
            b"Q": lambda: push(self.meaning.persistent(self._pop())),
            b"R": self._call,
            b"\x80": self._version,
            b"\x81": self._call,
            b"\x90": lambda: self._append(self._to_mark()),
            b"\x91": lambda: push(self._to_mark()),
            b"\x93": self._global_of_stack,
            b"\x94": lambda: self._put(len(self.memo)),
            b"\x95": lambda: stream.number("Q"),  # a frame: says only how far to read ahead
        }
        while (code := stream.take(1)) != b".":
            self._spend(1)
            if code in steps:
                steps[code]()
            elif code in PUTS:
                self._put(stream.number(PUTS[code]))
            elif code in GETS:
                self._get(stream.number(GETS[code]))
            elif code in TUPLES:
                push(tuple([self._pop() for _ in range(TUPLES[code])][::-1]))
            elif code in NEW:
                push(NEW[code]())
            elif code in CONSTANTS:
                push(CONSTANTS[code])
            elif code in NUMBERS:
                push(stream.number(NUMBERS[code]))
            else:
                push(self._sized(code))
        value = self._pop()
        if self.stack or self.marked:
            self._wrong("end")
        return value

    def _sized(self, code: bytes) -> Any:
        """A value that begins with its length."""
        stream = self.stream
        if code in TEXTS:
            return stream.text(stream.number(TEXTS[code]))
        if code in OLD_TEXTS:
            return stream.take(stream.number(OLD_TEXTS[code])).decode("latin-1")
        if code in BYTES:
            return stream.take(stream.number(BYTES[code]))
        if code not in LONGS:
            stream.fail(f"its pickle has the instruction {code!r}, which weights do not need")
        digits = stream.take(stream.number(LONGS[code]))
        return int.from_bytes(digits, "little", signed=True)

    def _spend(self, work: int) -> None:
        """Refuses a small program that makes a great deal, such as one copy after another."""
        self.work += work
        if self.work > self.most_work:
            self.stream.fail(f"its pickle takes more than {self.most_work} steps")

    def _wrong(self, what: str) -> NoReturn:
        self.stream.fail(f"its pickle has a wrong {what}")

    def _version(self) -> None:
        if self.stream.number("B") > 5:
            self._wrong("version")

    def _top(self) -> Any:
        if not self.stack:
            self._wrong("stack")
        return self.stack[-1]

    def _pop(self) -> Any:
        if not self.stack:
            self._wrong("stack")
        return self.stack.pop()

    def _mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _to_mark(self) -> list[Any]:
        if not self.marked:
            self._wrong("mark")
        values, self.stack = self.stack, self.marked.pop()
        return values

    def _put(self, place: int) -> None:
        self.memo[place] = self._top()

    def _get(self, place: int) -> None:
        if place not in self.memo:
            self._wrong("memory")
        self.stack.append(self.memo[place])

    def _append(self, values: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            self._wrong("list")
        target.extend(values)

    def _set_on_top(self, values: list[Any]) -> None:
        self._set(self._top(), values)

    def _set(self, target: Any, values: list[Any]) -> dict[Any, Any]:
        if not isinstance(target, dict) or len(values) % 2:
            self._wrong("dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Tuples of tuples of tuples … can take for ever to hash.
            flat = key if isinstance(key, tuple) else (key,)
            if not all(isinstance(part, KEYS) for part in flat):
                self._wrong("key")
            self.work += len(flat)
            target[key] = value
        return target

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            self._wrong("call")
        self._spend(_length(arguments) + sum(map(_length, arguments)))
        self.stack.append(self.meaning.call(function, arguments))

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        self._spend(_length(state) + sum(map(_length, state if isinstance(state, tuple) else ())))
        self.meaning.build(target, state)

    def _global_of_stack(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            self._wrong("name")
        self.stack.append(Global(module, name))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple | dict | str | bytes) else 0
