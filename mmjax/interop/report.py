"""What became of the tensors of a file, for the user to read."""

import dataclasses
from collections.abc import Sequence

SHOWN = 6  # names in a line


@dataclasses.dataclass(frozen=True)
class Report:
    """Of one loading.

    Attributes:
        family: of the model.
        loaded: our paths of the parameters that came from the file.
        left_over: names in the file that the model has no place for.
        buffers: names in the file of what is no parameter, such as the numbers of positions.
        parameters: number of loaded numbers.
    """

    family: str
    loaded: Sequence[str]
    left_over: Sequence[str]
    buffers: Sequence[str] = ()
    parameters: int = 0

    def __str__(self) -> str:
        lines = [f"{self.family}: {len(self.loaded)} arrays of {self.parameters:,} parameters"]
        if self.left_over:
            more = ", …" if len(self.left_over) > SHOWN else ""
            shown = ", ".join(self.left_over[:SHOWN]) + more
            lines.append(f"left over in the file: {len(self.left_over)} ({shown})")
        return "\n".join(lines)
