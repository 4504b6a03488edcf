"""How fast published models load, and how fast they run beside transformers.

python experiments/benchmarks/interop/run.py [--rounds=7]

Needs torch, torchvision and transformers. Weights are drawn: speed does not depend on them. Loading
is measured in a process of its own, which reports its peak memory; running alternates between the
libraries, in one process each, on the same inputs, and the medians are compared.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BASE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
TEXT = BASE | {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}

LOADING = """
import json, re, sys, time
from pathlib import Path
import jax
from mmjax import interop
jax.numpy.zeros(1).block_until_ready()
def peak():  # not that of the process that started this one, as getrusage has it
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
begun = time.perf_counter()
model = interop.load(sys.argv[1])
jax.block_until_ready(model.variables)
seconds = time.perf_counter() - begun
print(json.dumps({"seconds": seconds, "bytes": peak() - before}))
"""


def models():
    """By name: a model of transformers with drawn weights, and its inputs."""
    import torch
    import transformers

    generator = np.random.default_rng(0)

    def pixels(rows, side=224):
        return torch.tensor(generator.normal(size=(rows, 3, side, side)).astype(np.float32))

    def ids(rows, length, most=30_000):
        return torch.tensor(generator.integers(3, most, (rows, length)))

    vision = BASE | {"image_size": 224, "patch_size": 32}
    clip = transformers.CLIPConfig(vision_config=vision, text_config=TEXT)
    whisper = transformers.WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536
    )
    features = torch.tensor(generator.normal(size=(2, 80, 3000)).astype(np.float32))
    decoder = torch.zeros((2, 1), dtype=torch.int64)
    return {
        "CLIP-B/32, 8 pictures and 8 texts of 77": (
            transformers.CLIPModel(clip),
            {"pixel_values": pixels(8), "input_ids": ids(8, 77)},
        ),
        "ViT-B/16, 8 pictures": (
            transformers.ViTModel(transformers.ViTConfig(**BASE)),
            {"pixel_values": pixels(8)},
        ),
        "BERT-base, 8 texts of 128": (
            transformers.BertModel(transformers.BertConfig(**BASE)),
            {"input_ids": ids(8, 128), "attention_mask": torch.ones((8, 128), dtype=torch.int64)},
        ),
        "MiniLM, 32 texts of 32": (
            transformers.BertModel(
                transformers.BertConfig(
                    hidden_size=384,
                    num_hidden_layers=6,
                    num_attention_heads=12,
                    intermediate_size=1536,
                )
            ),
            {"input_ids": ids(32, 32), "attention_mask": torch.ones((32, 32), dtype=torch.int64)},
        ),
        "Whisper tiny, 2 recordings of 30 s": (
            transformers.WhisperModel(whisper),
            {"input_features": features, "decoder_input_ids": decoder},
        ),
    }


def loading(folder: Path) -> None:
    """Prints seconds and memory of loading CLIP-B/32 in float32 and float16."""
    for precision in ("float32", "float16"):
        size = (folder / precision / "model.safetensors").stat().st_size
        command = [sys.executable, "-c", LOADING, str(folder / precision)]
        runs = [json.loads(subprocess.check_output(command)) for _ in range(3)]
        seconds = statistics.median(run["seconds"] for run in runs)
        memory = statistics.median(run["bytes"] for run in runs)
        print(
            f"load CLIP-B/32 in {precision}: {size / 1e6:.0f} MB, {seconds:.2f} s,"
            f" {memory / size:.2f}x of the file more memory at the peak",
            flush=True,
        )


def running(name: str, theirs, inputs, folder: Path, rounds: int) -> None:
    """Prints the medians of both libraries and their ratio."""
    import jax
    import torch

    from mmjax import interop

    theirs = theirs.eval()
    theirs.save_pretrained(folder)
    ours = interop.load(folder)
    arrays = {key: x.numpy() for key, x in inputs.items()}
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(rounds + 2):
        begun = time.perf_counter()
        found = jax.block_until_ready(dict(ours(**arrays)))
        middle = time.perf_counter()
        with torch.inference_mode():
            expected = theirs(**inputs)
        ended = time.perf_counter()
        if turn >= 2:  # the first compile
            times["ours"].append(middle - begun)
            times["theirs"].append(ended - middle)
    key = "last_hidden_state" if "last_hidden_state" in found else "logits_per_image"
    distance = float(np.abs(np.asarray(found[key]) - expected[key].numpy()).max())
    a, b = (statistics.median(times[who]) for who in ("ours", "theirs"))
    print(
        f"{name}: mmjax {1e3 * a:.0f} ms, PyTorch {1e3 * b:.0f} ms, ratio {a / b:.2f},"
        f" distance {distance:.1e}",
        flush=True,
    )


def main() -> None:
    """Runs both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    from mmjax import memory

    memory.keep_freed()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = models()
        clip = next(iter(made.values()))[0]
        clip.save_pretrained(folder / "float32")
        clip.half().save_pretrained(folder / "float16")
        clip.float()
        loading(folder)
        for number, (title, (theirs, inputs)) in enumerate(made.items()):
            running(title, theirs, inputs, folder / str(number), rounds)


if __name__ == "__main__":
    main()
