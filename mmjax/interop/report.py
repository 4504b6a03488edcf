"""What became of the tensors of a file, for the user to read."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Report:
    """Of one loading.

    Attributes:
        family: of the model.
        loaded: our paths of the parameters that came from the file.
        left_over: names in the file that the model has no place for.
        buffers: names in the file of what is no parameter, such as the numbers of positions.
        initialised: our paths of the parameters that the file did not have.
        parameters: number of loaded numbers.
    """

    family: str
    loaded: Sequence[str]
    left_over: Sequence[str]
    buffers: Sequence[str] = ()
    initialised: Sequence[str] = ()
    parameters: int = 0

    def __str__(self) -> str:
        lines = [f"{self.family}: {len(self.loaded)} arrays of {self.parameters:,} parameters"]
        for title, names in (
            ("newly initialised", self.initialised),
            ("left over in the file", self.left_over),
        ):
            if names:
                shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
                lines.append(f"{title}: {len(names)} ({shown})")
        return "\n".join(lines)
