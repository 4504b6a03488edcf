"""Times what decodes files: pictures a second, and pictures of a video that are decoded.

All times are of one processor core, whatever else the machine does.

python -m experiments.benchmarks.decoding.run [--seconds=3] [--parts=images,videos]

Pictures are photograph-like noise (amplitudes fall with the frequency) with hard edges.
"""

import argparse
import functools
import io
import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from mmjax.data.readers import video_file
from mmjax.data.readers.image_modes import read_rgb
from mmjax.data.readers.transforms import resize

ROUNDS = 5


def photograph(seed: int, side: int) -> UInt8[np.ndarray, "side side 3"]:
    """Noise whose amplitudes fall with the frequency, as those of photographs, and two discs."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    frequency[0, 0] = np.inf
    noise = random.normal(size=(3, side, side)) + 0.5 * random.normal(size=(1, side, side))
    made = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
    made = np.moveaxis(made, 0, 2)
    made = 128 + 50 * made / made.std()
    rows, columns = np.mgrid[:side, :side] / side
    for _ in range(2):
        y, x, radius = random.uniform(0.2, 0.8, 3) * (1, 1, 0.4)
        made[np.hypot(rows - y, columns - x) < radius] = random.uniform(0, 255, 3)
    return made.clip(0, 255).astype(np.uint8)


def per_second(calls: Sequence[Callable[[int], object]], seconds: float) -> list[float]:
    """Calls of each a second of processor time, the best of ROUNDS in which they alternate."""
    best = [0.0] * len(calls)
    for _ in range(ROUNDS):
        for place, call in enumerate(calls):
            count, begun = 0, time.process_time()
            while time.process_time() - begun < seconds / ROUNDS:
                call(count)
                count += 1
            best[place] = max(best[place], count / (time.process_time() - begun))
    return best


def encoded(picture: np.ndarray, kind: str) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return file.getvalue()


def images(seconds: float) -> None:
    """Prints pictures a second of decoding and resizing, with and without a scaled DCT."""
    print("| file | to | full, images/s | draft, images/s | times | mean difference | largest |")
    print("|---|---|---|---|---|---|---|")
    for kind, side, size in (
        *(("JPEG", 512, size) for size in (32, 64, 128, 224)),
        *((kind, side, 64) for kind, side in (("JPEG", 256), ("JPEG", 2048), ("PNG", 512))),
    ):
        files = [encoded(photograph(seed, side), kind) for seed in range(8 if side < 2048 else 2)]

        def read(i: int, draft: tuple[int, int] | None, files=files, size=size) -> np.ndarray:
            return np.asarray(resize(read_rgb(files[i % len(files)], draft=draft), size))

        calls = [functools.partial(read, draft=draft) for draft in (None, (size, size))]
        full, drafted = per_second(calls, seconds)
        apart = [
            np.abs(read(i, None).astype(int) - read(i, (size, size))) for i in range(len(files))
        ]
        print(
            f"| {kind} {side} x {side} | {size} | {full:.0f} | {drafted:.0f} | {drafted / full:.2f}"
            f" | {np.mean(apart):.2f} | {np.max(apart)} |",
            flush=True,
        )


def film(codec: str, group: int, seconds: int, rate: int = 25) -> bytes:
    """A video of a picture that moves."""
    import av

    whole, file = photograph(0, 512), io.BytesIO()
    with av.open(file, "w", format="mp4") as made:
        options = {"g": str(group), "keyint_min": str(group), "preset": "veryfast"}
        video = made.add_stream(codec, rate=rate, options=options)
        video.height, video.width, video.pix_fmt = 240, 320, "yuv420p"
        for i in range(seconds * rate):
            moved = np.roll(whole, (i // 2, 2 * i), (0, 1))[:240, :320]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            made.mux(video.encode(frame))
        made.mux(video.encode())
    return file.getvalue()


def videos(_seconds: float) -> None:
    """Prints how many pictures are decoded for 8 of a video of a minute, and how long it takes."""
    print("| 60 s of 320 x 240, 25 a second | pictures | decoded for 8 | s | decoding all, s |")
    print("|---|---|---|---|---|")
    for codec, group in (("libx264", 250), ("libx264", 50), ("libx264", 12), ("mpeg4", 1)):
        data = film(codec, group, 60)
        begun = time.process_time()
        clip = video_file.read(data, 8, (64, 64))
        took = time.process_time() - begun
        begun = time.process_time()
        whole = video_file.read(data, 1500, (64, 64))
        all_of_it = time.process_time() - begun
        named = f"H.264, keyframe every {group}" if group > 1 else "MPEG-4, keyframes alone"
        counts = f"{int(whole.mask.sum())} | {clip.decoded}"
        print(f"| {named} | {counts} | {took:.2f} | {all_of_it:.2f} |", flush=True)


PARTS = {"images": images, "videos": videos}


def main() -> None:
    """Reads the command line; see the documentation of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--parts", default=",".join(PARTS))
    chosen = parser.parse_args()
    for name in chosen.parts.split(","):
        PARTS[name](chosen.seconds)


if __name__ == "__main__":
    main()
