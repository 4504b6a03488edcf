"""Checksums beside the files of a run: damage is found before it becomes other numbers.

`SHA256SUMS` has the format of the command `sha256sum`, so that `sha256sum --check SHA256SUMS` reads
it too. Its last line is a comment, the checksum of the lines before. SHA-256 has instructions of
its own in today's processors: 600 MB take half a second of one core (CRC-32 a third of a second,
BLAKE2 one).
"""

import concurrent.futures
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

FILE = "SHA256SUMS"
DIGEST = re.compile("[0-9a-f]{64}")
LINE = re.compile(rf"({DIGEST.pattern})  (.+)")
LAST = "# all of the above: "


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all, whichever processes do so at once."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def is_part(path: Path, name: str) -> bool:
    """Whether a file is what `write_text` writes of a file of this name before it is whole."""
    return path.name.startswith(f"{name}.") and path.name.endswith(".part")


def exist(directory: Path) -> bool:
    """Whether a directory has checksums."""
    return (directory / FILE).exists()


def write(directory: Path, files: Iterable[Path]) -> None:
    """Writes the checksums of files that lie in a directory, or below."""
    files = sorted(files)
    names = [_name(directory, file) for file in files]
    _store(directory, zip(names, _hash(files, _checksum), strict=True))


def replace(path: Path, text: str) -> None:
    """Writes a file, and its checksum if its directory has those; a crash between harms nothing."""
    directory, sums = path.parent, []
    if exist(directory):
        sums, _ = _read(directory)
    new = hashlib.sha256(text.encode()).hexdigest()
    others = [(name, old) for name, old in sums if name != path.name]
    if sums and (path.name, new) not in sums:
        _store(directory, [*sums, (path.name, new)])  # the old file or the new one
    write_text(path, text)
    if sums:
        _store(directory, [*others, (path.name, new)])


def damage(directory: Path, under: str = "", present: Iterable[Path] = ()) -> str:
    """What is wrong with the files of a directory that has checksums; "" if nothing is.

    Args:
        directory: what has no checksums has no damage.
        under: only files whose names begin so.
        present: files that must have checksums.
    """
    if not exist(directory):
        return ""
    listed, problem = _read(directory)
    if problem:
        return problem
    accepted: dict[str, list[str]] = {}
    for name, value in listed:
        if name.startswith(under):
            accepted.setdefault(name, []).append(value)
    strange = {_name(directory, file) for file in present} - {name for name, _ in listed}
    if strange:
        return f"{min(strange)} does not belong to it"
    for name in accepted:
        if not (directory / name).is_file():
            return f"{name} is missing"
    found = _hash([directory / name for name in accepted], _checksum_or_error)
    for (name, values), value in zip(accepted.items(), found, strict=True):
        if value not in values:
            changed = DIGEST.fullmatch(value)
            return f"{name} is not what was written" if changed else f"{name} {value}"
    return ""


def _name(directory: Path, file: Path) -> str:
    return file.relative_to(directory).as_posix()


def _hash(files: Iterable[Path], function: Callable[[Path], str]) -> list[str]:
    # The files are hashed side by side: Python is not held meanwhile.
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        return list(pool.map(function, files))


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum_or_error(path: Path) -> str:
    try:
        return _checksum(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _store(directory: Path, sums: Iterable[tuple[str, str]]) -> None:
    body = "".join(f"{value}  {name}\n" for name, value in sums)
    last = hashlib.sha256(body.encode()).hexdigest()
    write_text(directory / FILE, f"{body}{LAST}{last}\n")


def _read(directory: Path) -> tuple[list[tuple[str, str]], str]:
    """(name, checksum) of all files, and what is wrong with the list."""
    try:
        body, mark, last = (directory / FILE).read_bytes().rpartition(LAST.encode())
    except OSError as error:
        return [], f"{FILE} cannot be read: {error.strerror}"
    if not mark or last != hashlib.sha256(body).hexdigest().encode() + b"\n":
        return [], f"{FILE} itself is damaged"
    found = (LINE.fullmatch(line) for line in body.decode().split("\n"))
    return [(line[2], line[1]) for line in found if line], ""
