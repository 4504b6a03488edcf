"""What a config asks of its model: `config.tasks`, or `config.task` as the table of one."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.config.keys import TASK_KEYS
from mmjax.factory.tables.names import entry, lookup
from mmjax.factory.tables.tasks import TASKS
from mmjax.tasks.task import TaskType

Path = tuple[str, ...]
Config = Mapping[str, Any] | ConfigDict


class Asked(NamedTuple):
    """A task as a config asks for it.

    kind: its name in TASKS.
    path: where it stands in the config; () for the only one.
    spec: what stands there, with keys of TASK_KEYS.
    """

    kind: str
    path: Path
    spec: Config

    @property
    def type(self) -> TaskType:
        """How it is made."""
        return entry(TASKS, self.kind, f"{self.where}.name" if self.path else "config.task")

    def get(self, key: str) -> Any:
        """What it says for a key of TASK_KEYS, or the default."""
        return self.spec.get(key, TASK_KEYS[key].default)

    @property
    def where(self) -> str:
        """The config key, for messages."""
        return ".".join(("config", *self.path))


def asked(config: Config) -> dict[str, Asked]:
    """The tasks of a config by name; the only one is called as its type says.

    Args:
        config: checked, or plain nested dictionaries.

    Raises:
        UserError: the only task is unknown.
    """
    return dict(_named(config))


def _named(config: Config) -> Iterator[tuple[str, Asked]]:
    tasks = config.get("tasks")
    if tasks:
        yield from ((n, Asked(s.get("name"), ("tasks", n), s)) for n, s in tasks.items())
    else:
        only = Asked(config.get("task"), (), config)
        yield only.type.name, only


def tasks_of(key: str) -> list[str]:
    """The tasks that a part of a config is for; [] for a key of every task."""
    return [name for name, kind in TASKS.items() if key in kind.keys]


def check_read(config: Config) -> None:
    """Checks the modalities that tasks read, where some read less than all.

    Raises:
        UserError: one that the config has not, one that no task reads, or a task without a fusion.
    """
    known, read = config["modalities"], set()
    for task in asked(config).values():
        own = task.get("modalities") if task.path else ()
        for name in own:
            lookup(dict.fromkeys(known), name, f"{task.where}.modalities")
        if own and "fusion" not in task.type.keys:
            raise UserError(
                f"{task.where}.modalities: {task.kind!r} has no fusion to read some of them"
                " through: leave it out"
            )
        read |= {*(own or known)}
    for name in known:
        if name not in read:
            raise UserError(f"config.modalities: no task reads {name!r}: leave it out")
