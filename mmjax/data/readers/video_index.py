"""Which pictures a video has, when each is shown, and what must be decoded to see it.

A decoder needs all packets from a keyframe on. Reading the packets without decoding them says when
each picture is shown, whatever the rate does, and where the keyframe before it is.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from mmjax.errors import UserError

MAX_FRAMES = 2**20  # 9.7 hours at 30 a second
RATE = 25  # pictures a second, where a file says nothing


@dataclasses.dataclass(frozen=True)
class Index:
    """The pictures of a video in the order in which they are shown.

    Attributes:
        times: when each begins, in seconds; the first that can be decoded at 0.
        end: when the last one ends, in seconds.
        stamps: the times in the file's units; () where packets have none.
        places: the packet of each.
        keys: the packet that decoding of each begins with.
        packets: presentation time, decoding time (None: not known) and whether it is a keyframe,
            of every packet in the order of the file.
    """

    times: Float64[np.ndarray, " N"]
    end: float
    stamps: Int64[np.ndarray, " M"]
    places: Int64[np.ndarray, " N"]
    keys: Int64[np.ndarray, " N"]
    packets: list[tuple[int | None, int | None, bool]]


def index(found: Any, stream: Any, name: str) -> Index:
    """Reads all packets of a track once.

    Args:
        found: the open container, at its beginning.
        stream: its video track.
        name: for messages.

    Raises:
        UserError: no pictures, or over MAX_FRAMES.
    """
    packets, shown, last = [], [], 0
    for packet in found.demux(stream):
        if packet.size == 0:  # the end
            continue
        # What an edit list cuts off is decoded for the sake of others.
        if not getattr(packet, "is_discard", False):
            shown.append(len(packets))
            last = packet.duration or last
        packets.append((packet.pts, packet.dts, packet.is_keyframe))
        if len(packets) > MAX_FRAMES:
            raise UserError(f"{name}: has over {MAX_FRAMES} pictures (MAX_FRAMES): cut it")
    if not shown:
        raise UserError(f"{name}: has no pictures; pass an intact file")
    unit = float(stream.time_base or 0)
    stamps = [packets[place][0] for place in shown]
    # In AVI they are guesses where pictures are not shown in the order of the file.
    guessed = found.format.name == "avi" and stream.codec_context.has_b_frames
    if None in stamps or not unit or guessed:
        return _counted(stream, packets, shown)
    order = np.argsort(np.array(stamps, np.int64), kind="stable")
    places = np.array(shown, np.int64)[order]
    keys = _keys(packets, places)
    stamps, places, keys = (x[keys >= 0] for x in (np.array(stamps, np.int64)[order], places, keys))
    if not len(keys):
        raise UserError(f"{name}: has no keyframe; pass an intact file")
    times = (stamps - stamps[0]).astype(np.float64) * unit
    return Index(
        times, float(times[-1]) + (last * unit or _gap(times)), stamps, places, keys, packets
    )


def _counted(stream: Any, packets: list, shown: list[int]) -> Index:
    """Where packets do not say when they are shown: evenly, and all before must be decoded."""
    rate = float(stream.average_rate or RATE)
    times = np.arange(len(shown), dtype=np.float64) / rate
    none = np.zeros(0, np.int64)
    keys = np.zeros(len(shown), np.int64)
    return Index(times, len(shown) / rate, none, np.array(shown, np.int64), keys, packets)


def _gap(times: Float64[np.ndarray, " N"]) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 1 / RATE


def _keys(
    packets: list[tuple[int | None, int | None, bool]], places: Int64[np.ndarray, " N"]
) -> Int64[np.ndarray, " N"]:
    """The last keyframe at or before each place that is not shown later than it.

    One that is shown later begins a group of pictures whose first need the group before it. -1: a
    file that begins with such a group, or in the middle of one.
    """
    known = [(place, stamp) for place, (stamp, _, key) in enumerate(packets) if key]
    found = np.zeros(len(places), np.int64)
    at = np.array([place for place, _ in known], np.int64)
    for i, place in enumerate(places):
        stamp = packets[place][0]
        which = int(np.searchsorted(at, place, "right")) - 1
        while which >= 0 and (known[which][1] is None or known[which][1] > stamp):
            which -= 1
        found[i] = known[which][0] if which >= 0 else -1
    return found


def pieces(
    found: Any,
    stream: Any,
    pictures: Index,
    spans: Sequence[tuple[int, int]],
    again: Iterable[Any],
) -> Iterator[list[Any]]:
    """The packets of each span, by seeking to its keyframe.

    In formats without an index of their own, such as MPEG program streams, other packets or times
    may be found by seeking than by reading; from then on packets are read in their order instead.

    Args:
        found, stream: the open container, and its video track.
        pictures: of the video.
        spans: the first packet, a keyframe, and how many; the first ascend.
        again: the packets of the track from its first on, asked for when seeking does not do.
    """
    walk, read, number = None, [], 0  # `read` begins with packet `number`
    for first, count in spans:
        packets = _sought(found, stream, pictures, first, count) if walk is None else None
        if packets is None:
            walk = (packet for packet in again if packet.size) if walk is None else walk
            skipped = first - number
            read, behind = read[skipped:], max(0, skipped - len(read))
            number = first
            read += itertools.islice(walk, behind, behind + max(0, count - len(read)))
            packets = read[:count]
        yield packets


def _sought(found: Any, stream: Any, pictures: Index, first: int, count: int) -> list[Any] | None:
    """The packets of a span by seeking; None where they are not those of the index."""
    expected = pictures.packets[first : first + count]
    for target in dict.fromkeys(expected[0][:2]):
        if target is None:
            continue
        found.seek(target, stream=stream)
        packets: list[Any] = []
        for packet in found.demux(stream):
            told = (packet.pts, packet.dts, packet.is_keyframe)
            if packet.size == 0 or (packets and told != expected[len(packets)]):
                break
            if packets or told == expected[0]:
                packets.append(packet)
            elif None not in (packet.dts, expected[0][1]) and packet.dts > expected[0][1]:
                break
            if len(packets) == count:
                return packets
    return None


def shown(frames: Iterable[Any], pictures: Index, wanted: Int64[np.ndarray, " K"]) -> Iterator[Any]:
    """Of decoded frames those that are wanted, in order; fewer where the frames end before.

    A packet may come to no frame of its own, such as what only other pictures refer to; then the
    frame before it is still shown.

    Args:
        frames: from a keyframe on, in the order in which they are shown.
        pictures: of the video.
        wanted: numbers of pictures, in order.
    """
    stamps = deque(pictures.stamps[wanted] if len(pictures.stamps) else wanted)
    before = None
    for number, frame in enumerate(frames):
        stamp = frame.pts if len(pictures.stamps) else number
        while stamps and before is not None and stamp is not None and stamps[0] < stamp:
            stamps.popleft()
            yield before
        while stamps and stamps[0] == stamp:
            stamps.popleft()
            yield frame
        if not stamps:
            return
        if stamp is not None and stamp < stamps[0]:
            before = frame
    while stamps and before is not None:
        stamps.popleft()
        yield before
