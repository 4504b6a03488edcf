"""Tuning some of a model's own parameters."""

import dataclasses

from mmjax.tuning.paths import ENCODERS, NOT_ENCODERS


@dataclasses.dataclass(frozen=True)
class Full:
    """All parameters train, but for the encoders of some modalities.

    Attributes:
        frozen: names of modalities whose encoders do not train.
    """

    frozen: tuple[str, ...] = ()

    key = None

    @property
    def trained(self) -> tuple[str, ...]:
        """Patterns of the parameters that train."""
        if not self.frozen:
            return ("",)
        return (f"^(?!encoders_(?:{'|'.join(self.frozen)})/)",)


@dataclasses.dataclass(frozen=True)
class BitFit:
    """Only biases train (Ben Zaken et al. 2022, https://arxiv.org/abs/2106.10199).

    Attributes:
        where: a regular expression on the paths of parameters, among which are the biases.
        also: regular expressions on the paths of other parameters that train.
    """

    where: str = ENCODERS
    also: tuple[str, ...] = (NOT_ENCODERS,)

    key = None

    @property
    def trained(self) -> tuple[str, ...]:
        """Patterns of the parameters that train."""
        return (f"^(?=.*?(?:{self.where}))(?:.*/)?bias$", *self.also)


@dataclasses.dataclass(frozen=True)
class LinearProbe:
    """Nothing of the encoders trains.

    Attributes:
        also: regular expressions on the paths of the parameters that train.
    """

    also: tuple[str, ...] = (NOT_ENCODERS,)

    key = None

    @property
    def trained(self) -> tuple[str, ...]:
        """Patterns of the parameters that train."""
        return self.also
