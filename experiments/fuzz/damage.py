"""Damaged copies of bytes and of JSON tables, the same for the same random generator."""

import copy
import json
import random
import struct
from typing import Any

TELLING = [
    *(struct.pack(code, n) for code in ("<q", ">q") for n in (-1, 2**31, 2**62, 1 << 40)),
    *(struct.pack(code, n) for code in ("<i", ">i") for n in (-1, 2**31 - 1, 2**30, 100, 0)),
    *(struct.pack(code, n) for code in ("<H", ">H") for n in (0, 1, 2**15, 2**16 - 1)),
    *(b"\xff", b"\0", b"-1", b"9" * 20, b"[]{}", b"[UNK]", b"\xed\xa0\x80", b"\r\n", b"\x80"),
]
VALUES = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 255, 65536, 10**6, 10**9, 2**31, 2**63, 10**30),
    *(0.0, 0.5, -1.5, 1e-9, 1e30, float("inf"), float("nan"), "", "x", "gelu", "10", "[UNK]"),
    *([], [1], [0, 0], [1, 2, 3], [10**9] * 2, ["a"], [[]], {}, {"a": 1}, "y" * 5000),
]


def bytes_of(data: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """One to four edits: bits, numbers that tell, cuts, repeats, parts of another file."""
    found = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        # Headers are at the beginning.
        end = len(found) + 1 if draw.random() < 0.5 else min(len(found) + 1, 96)
        at, size, new = draw.randrange(end), draw.randint(1, 64), draw.choice(TELLING)
        kind = draw.choice(["flip", "over", "over", "insert", "cut", "delete", "repeat", "splice"])
        if kind == "flip" and at < len(found):
            found[at] ^= 1 << draw.randrange(8)
        elif kind == "over":
            found[at : at + len(new)] = new
        elif kind == "insert":
            found[at:at] = new
        elif kind == "cut" and draw.random() < 0.3:
            del found[at:]
        elif kind == "delete":
            del found[at : at + size]
        elif kind == "repeat":
            found[at:at] = found[at : at + size] * draw.randint(1, 50)
        elif kind == "splice":
            other = draw.choice(others)
            found[at:] = other[draw.randrange(len(other) + 1) :]
    return bytes(found)


def places(tree: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values in a tree of JSON."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = [path] if path else []
    if isinstance(tree, dict | list):
        for key, value in pairs:
            found += (
                places(value, (*path, key)) if isinstance(value, dict | list) else [(*path, key)]
            )
    return found


def table_of(table: Any, draw: random.Random, more: list[str] = ()) -> bytes:
    """The text of a JSON value with one to three values replaced, removed, renamed or added.

    `more` are keys that the readers know, which may be added.
    """
    tree = json.loads(json.dumps(table))
    for _ in range(draw.randint(1, 3)):
        if more and isinstance(tree, dict) and draw.random() < 0.3:
            tree[draw.choice(more)] = copy.deepcopy(draw.choice(VALUES))
            continue
        known = places(tree)
        if not known:
            break
        *parents, last = draw.choice(known)
        node = tree
        for key in parents:
            node = node[key]
        kind = draw.choice(["value", "value", "value", "near", "remove", "nest"])
        if kind == "value":
            node[last] = copy.deepcopy(draw.choice(VALUES))
        elif kind == "near" and type(node[last]) in (int, float):
            node[last] = node[last] * draw.choice([2, -1, 1000, 0.5]) + draw.choice([0, 1])
        elif kind == "remove":
            del node[last]
        elif kind == "nest":
            node[last] = [node[last]]
    text = json.dumps(tree).encode()
    if draw.random() < 0.1:
        text = bytes_of(text, draw, [text])
    if draw.random() < 0.01:
        text = b"[" * 100_000
    return text
