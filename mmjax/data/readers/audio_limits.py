"""How long a sound may be, whatever decodes it, and the lines that say so."""

from mmjax.errors import UserError

MAX_SAMPLES = 2**28  # of one channel, 1 GiB: 4.6 hours at 16 kHz
MAX_SECONDS = 6 * 60 * 60
RATES = (1_000, 768_000)  # Hz; resampling from others takes a filter of any length


def most(rate: int) -> int:
    """How many samples are read at most at a rate in Hz."""
    return int(min(MAX_SAMPLES, MAX_SECONDS * rate))


def check_count(name: str, count: int, rate: int) -> None:
    """Raises a UserError for more than `most` samples at `rate` Hz."""
    if count > most(rate):
        raise UserError(
            f"{name}: has {count / rate:.7g} s or more, over {most(rate) / rate:.7g} s"
            " (MAX_SECONDS, MAX_SAMPLES): cut it into pieces, or read a part by start and duration"
        )


def check_rate(name: str, rate: int) -> None:
    """Raises a UserError for a rate in Hz that is none of a sound."""
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(
            f"{name}: has {rate} samples a second, not {RATES[0]} to {RATES[1]}; pass an intact"
            " file"
        )


def check_part(name: str, start: float, duration: float | None) -> None:
    """Raises a UserError for a part in seconds that there cannot be."""
    if not start >= 0 or not (duration is None or duration > 0):
        raise UserError(
            f"{name}: start={start} must be 0 s or more, duration={duration} above 0 s or None"
        )


def check_start(name: str, start: float, seconds: float) -> None:
    """Raises a UserError for a part that starts at or behind the end of what has some seconds."""
    if start and start >= seconds:
        raise UserError(
            f"{name}: start={start:g} s is behind its end at {seconds:.7g} s: start earlier"
        )
