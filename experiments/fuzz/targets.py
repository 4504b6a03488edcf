"""The readers, each as a function of the number of an input that reads one damaged file."""

import functools
import io
import random
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image

from experiments.fuzz import damage, models, words

Target = Callable[[int, int, Path], None]


def drawn(name: str, number: int, seed: int) -> random.Random:
    """The generator of an input; a number alone makes it again."""
    return random.Random(f"{seed}/{name}/{number}")


def pictures(_folder: Path) -> Target:
    """Every format that Pillow writes, and beginnings of those that it only reads."""
    from mmjax.data.readers.transforms import decode_image, read_image
    from mmjax.interop.preprocess.images import pixels

    PIL.Image.init()
    made = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 12, 3), np.uint8))
    seeds = []
    for kind in sorted(PIL.Image.SAVE):
        for mode in ("RGB", "L", "P", "RGBA", "1"):
            file = io.BytesIO()
            try:
                with warnings.catch_warnings(action="ignore"):  # a format that is going
                    made.convert(mode).save(file, kind)
            except (OSError, ValueError, KeyError, SystemError):
                continue
            seeds.append(file.getvalue())
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        file = io.BytesIO()
        made.save(file, kind, save_all=True, append_images=[made, made])
        seeds.append(file.getvalue())
    icon = io.BytesIO()
    made.save(icon, "ICO")
    seeds += [b"\0\0\2" + icon.getvalue()[3:]]  # a cursor
    starts = [b"8BPS\0\1", b"\xb1\x68\xde\x3a", b"\x04\0\0\0\x12\xaf", b"\0" * 4 + b"\x12\xaf"]
    starts += [b"FTEX", b"SIMPLE  =", b"\x0a\x05", b"PCD_", b"\xff\x4f\xff\x51", b"GRIB", b"P7 332"]
    starts += [b"\x80\xe8\0\0", b"/* XPM */", b"\0\0\1\xba", b"\0" * 6 + b"\x20\x14\0\x01"]
    noise = np.random.default_rng(1).integers(0, 5, 600, np.uint8).tobytes()
    seeds += [start + noise for start in starts]

    def attempt(number: int, seed: int, folder: Path) -> None:
        draw = drawn("pictures", number, seed)
        path = folder / "picture"
        path.write_bytes(damage.bytes_of(draw.choice(seeds), draw, seeds))
        if number % 2:
            pixels.read(path)
        elif number % 4:
            read_image(path, 16)
        else:
            decode_image(path.read_bytes(), 16)

    return attempt


def sounds(_folder: Path) -> Target:
    """Every format that soundfile writes."""
    import soundfile

    from mmjax.data.readers.lengths import read_file
    from mmjax.interop.preprocess.sounds.waveforms import read

    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (800, 2))
    seeds, endings = [], []
    for kind in sorted(set(soundfile.available_formats()) - {"SD2"}):  # it writes a second file
        for subtype in list(soundfile.available_subtypes(kind))[:6]:
            for channels in (1, 2):
                file = io.BytesIO()
                try:
                    soundfile.write(file, wave[:, :channels], 16_000, format=kind, subtype=subtype)
                except (RuntimeError, ValueError, TypeError):
                    continue
                seeds.append(file.getvalue())
                endings.append(kind.lower())

    def attempt(number: int, seed: int, folder: Path) -> None:
        draw = drawn("sounds", number, seed)
        chosen = draw.randrange(len(seeds))
        ending = draw.choice([endings[chosen], "wav", "mp3", "raw", "xi", "bin"])
        path = folder / f"sound.{ending}"
        path.write_bytes(damage.bytes_of(seeds[chosen], draw, seeds))
        rate = draw.choice([8_000, 16_000, 48_000])
        if number % 2:
            read(path, rate, None)
        elif number % 4:
            read_file(path, rate)
        else:
            read_file(path.read_bytes(), rate, 0.01, draw.choice([0.02, None]))

    return attempt


def videos(_folder: Path) -> Target:
    """Formats of videos with and without sound, read as pictures and as sounds."""
    from mmjax.data.readers import video_file
    from mmjax.data.readers.lengths import read_file
    from tests.data.readers.movies import movie

    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3000))
    times = np.arange(12) / 25
    makes = [
        {"kind": "mp4", "codec": "libx264", "sound": wave},
        {"kind": "mp4", "codec": "mpeg4", "options": {"g": "3"}},
        {"kind": "matroska", "codec": "libx264", "sound": wave, "sound_codec": "flac"},
        {"kind": "webm", "codec": "libvpx-vp9", "sound": wave, "sound_codec": "libopus"},
        {"kind": "avi", "codec": "mpeg4", "sound": wave, "sound_codec": "mp3"},
        {"kind": "mov", "codec": "mjpeg", "pixels": "yuvj420p", "sound_codec": "pcm_s16le"},
        {"kind": "mpegts", "codec": "libx264", "sound": wave},
        {"kind": "mpeg", "codec": "mpeg2video", "options": {"bf": "2"}},
        {"kind": "flv", "codec": "flv1"},
        {"kind": "asf", "codec": "wmv2"},
    ]
    seeds = [movie(times, **{"unit": Fraction(1, 25), **made}) for made in makes]
    seeds += [movie(kind="adts", sound=wave), movie(kind="mp4", sound=wave)]
    pictures = [PIL.Image.fromarray(np.full((9, 9, 3), 25 * i, np.uint8)) for i in range(9)]
    for kind in ("GIF", "WEBP", "PNG"):
        file = io.BytesIO()
        pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=40)
        seeds.append(file.getvalue())

    def attempt(number: int, seed: int, folder: Path) -> None:
        draw = drawn("videos", number, seed)
        path = folder / "video.mp4"
        path.write_bytes(damage.bytes_of(draw.choice(seeds), draw, seeds))
        start, duration = draw.choice([0.0, 0.2]), draw.choice([None, 0.1])
        value = path if draw.random() < 0.5 else path.read_bytes()
        if number % 3:
            video_file.read(value, draw.choice([1, 4, 40]), (8, 8), start, duration)
        else:
            read_file(value, 16_000, start, duration)

    return attempt


IMAGES = {
    **{
        name: {"image_processor_type": f"{name}ImageProcessor", "crop_size": 16, "size": 20}
        for name in ("CLIP", "ViT", "Bit", "DeiT", "Siglip", "VideoMAE", "Vivit")
    },
    "Siglip2": {"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 16},
    "open_clip": {"preprocess_cfg": {"size": 16, "mean": [0.5] * 3, "std": [0.5] * 3}},
    "timm": {"pretrained_cfg": {"input_size": [3, 16, 16], "crop_pct": 0.9}},
    "torchvision": {"resize_size": 20, "crop_size": 16},
}
IMAGE_KEYS = [
    *("do_resize", "size", "crop_size", "do_center_crop", "do_rescale", "rescale_factor", "offset"),
    *("do_normalize", "image_mean", "image_std", "resample", "patch_size", "max_num_patches"),
    *("model_cfg", "interpolation", "fill_color", "resize_mode", "crop_mode", "image_processor"),
]
SOUNDS = [
    {"feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": 1},
    {"feature_extractor_type": "ASTFeatureExtractor"},
    {"feature_extractor_type": "ClapFeatureExtractor", "max_length_s": 1},
    {"feature_extractor_type": "ClapFeatureExtractor", "truncation": "rand_trunc"},
    {"feature_extractor_type": "Wav2Vec2FeatureExtractor"},
]
SOUND_KEYS = [
    *("feature_size", "hop_length", "chunk_length", "n_fft", "sampling_rate", "fft_window_size"),
    *("max_length_s", "max_length", "num_mel_bins", "frequency_min", "frequency_max", "padding"),
    *("return_attention_mask", "do_normalize", "mean", "std", "truncation", "feature_extractor"),
]


def preprocessors(_folder: Path) -> Target:
    """preprocessor_config.json and its kin, of pictures and of sounds, as a checkpoint has them."""
    from mmjax.interop.preprocess.images.processor import image_processor
    from mmjax.interop.preprocess.sounds.processor import sound_processor
    from mmjax.interop.weights.checkpoint import read_config_file

    picture = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 5000).astype(np.float32)

    def attempt(number: int, seed: int, folder: Path) -> None:
        draw = drawn("preprocessors", number, seed)
        path = folder / "preprocessor_config.json"
        heard = number % 2
        table = draw.choice(SOUNDS if heard else list(IMAGES.values()))
        path.write_bytes(damage.table_of(table, draw, SOUND_KEYS if heard else IMAGE_KEYS))
        config = read_config_file(path)
        if heard:
            rate = config.get("sampling_rate", 48_000 if "max_length_s" in config else 16_000)
            sound_processor(config)([wave], rate)
        else:
            process, video = image_processor(config), "Vi" in str(config)
            process([[picture, picture]] if video and draw.random() < 0.5 else [picture])

    return attempt


def weights(_folder: Path) -> Target:
    """Every format of weights, byte by byte."""
    from mmjax.interop.formats.open_weights import open_weights
    from tests.interop.formats.test_fuzz import SEEDS

    seeds = [seed for kind in SEEDS.values() for seed in kind]

    def attempt(number: int, seed: int, folder: Path) -> None:
        draw = drawn("weights", number, seed)
        path = folder / draw.choice(["model.bin", "model.safetensors", "it.ckpt", "it.npz"])
        path.write_bytes(damage.bytes_of(draw.choice(seeds), draw, seeds))
        for tensor in open_weights(path).values():
            tensor.read()

    return attempt


def lines(_folder: Path) -> Target:
    """The inputs of mmjax.predict."""
    from mmjax.errors import UserError
    from mmjax.predict import read_lines

    rows = [{"image": "a.png", "text": "is there a circle?"}, {"text": "é", "vector": [1.0, 2.5]}]
    whole = "\n".join(map(damage.json.dumps, rows)).encode()

    def attempt(number: int, seed: int, folder: Path) -> None:
        draw = drawn("lines", number, seed)
        path = folder / "inputs.jsonl"
        text = b"\n".join(damage.table_of(draw.choice(rows), draw) for _ in range(3))
        path.write_bytes(damage.bytes_of(whole, draw, [text]) if number % 2 else text)
        for row in read_lines(str(path)):
            if row.error:
                raise UserError(row.place + row.error)

    return attempt


TARGETS: dict[str, Callable[[Path], Target]] = {
    "pictures": pictures,
    "sounds": sounds,
    "videos": videos,
    "preprocessors": preprocessors,
    "weights": weights,
    "lines": lines,
    "tokenizers": functools.partial(words.tokenizers, drawn),
    "configs": functools.partial(models.configs, drawn),
    "workdirs": functools.partial(models.workdirs, drawn),
}
