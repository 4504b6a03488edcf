"""Flags, --config.KEY=VALUE and --help=TOPIC of a command line."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from absl import flags

from mmjax.errors import UserError


def parse(values: flags.FlagValues, argv: Sequence[str]) -> None:
    """Parses a command line into `values`.

    Raises:
        UserError: an unknown flag, a value of the wrong type, or words that belong to no flag.
    """
    try:
        rest = values(argv)[1:]
    except flags.Error as error:
        raise UserError(f"{' '.join(str(error).split())}") from error
    if rest:
        raise UserError(f"unexpected {rest[0]!r}; every argument is a --flag=value")


def require(values: flags.FlagValues, *names: str) -> None:
    """Raises UserError for the first of these flags that was not given."""
    for name in names:
        if not values[name].value:
            raise UserError(f"--{name} is missing: {values[name].help}")


def help_topic(arguments: Sequence[str]) -> str | None:
    """TOPIC of --help=TOPIC or --help TOPIC, "" without one, None without --help."""
    for place, word in enumerate(arguments):
        name, _, topic = word.partition("=")
        if name in ("-h", "-help", "--help"):
            after = arguments[place + 1 : place + 2]
            return topic or next((a for a in after if not a.startswith("-")), "")
    return None


def flag_lines(values: flags.FlagValues) -> str:
    """A line for each flag: its type or values, its default and what it is."""
    lines = []
    for name in values:
        flag = values[name]
        kind = "|".join(getattr(flag.parser, "enum_values", ())) or flag.flag_type()
        default = "" if flag.default is None else f"default {flag.default}"
        lines.append(f"--{name:14} {kind:12} {default:14} {flag.help.rpartition('>: ')[2]}")
    return "\n".join(lines)


class Given(NamedTuple):
    """What a command line says of a config.

    file: FILE.py or FILE.py:VARIANT; "" if it names none.
    keys: of each --config.KEY=VALUE, the key and the value as text, in their order.
    rest: the command line without these.
    """

    file: str
    keys: list[tuple[str, str]]
    rest: list[str]


def config_arguments(argv: Sequence[str]) -> Given:
    """Takes --config=FILE.py[:VARIANT] and --config.KEY=VALUE out of a command line.

    Values may stand after "=" or as the next word; of several files the last counts.

    Raises:
        UserError: one of them without a value.
    """
    file, keys, rest = "", [], []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("-") or not re.fullmatch(r"--?config(\..*)?", name):
            rest.append(word)
            continue
        if not equals:
            value = next(words, "--")
            if value.startswith("--"):
                raise UserError(f"{name} has no value; write {name}=VALUE")
        _, dot, key = name.partition(".")
        if dot:
            keys.append((key, value))
        else:
            file = value
    return Given(file, keys, rest)
