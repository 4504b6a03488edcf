"""What became of the tensors of a file, for the user to read."""

import dataclasses
from collections.abc import Sequence

SHOWN = 6  # names in a line


@dataclasses.dataclass(frozen=True)
class Report:
    """Of one loading.

    Attributes:
        architecture: of the model.
        loaded: our paths of the parameters that came from the file.
        unexpected: names in the file that the model has no place for.
        buffers: names in the file of what is no parameter, such as the numbers of positions.
        part: of the file that was read, such as "state_dict_ema.module"; "" for the whole.
        beside: names in the file of what lies beside that part, such as the optimizer's state.
        parameters: number of loaded numbers.
    """

    architecture: str
    loaded: Sequence[str]
    unexpected: Sequence[str]
    buffers: Sequence[str] = ()
    part: str = ""
    beside: Sequence[str] = ()
    parameters: int = 0

    def __str__(self) -> str:
        lines = [
            f"{self.architecture}: {len(self.loaded)} arrays of {self.parameters:,} parameters"
        ]
        if self.part:
            lines[0] += f" from its part {self.part!r}"
        if self.unexpected:
            lines.append(f"left over in the file: {listed(self.unexpected)}")
        if self.beside:
            lines.append(f"beside the model, and not read: {listed(self.beside)}")
        return "\n".join(lines)


def listed(names: Sequence[str]) -> str:
    """How many names there are, and the first of them."""
    more = ", …" if len(names) > SHOWN else ""
    return f"{len(names)} ({', '.join(names[:SHOWN])}{more})"
