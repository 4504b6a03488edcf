"""How fast published models load, and how fast they run beside transformers.

python experiments/benchmarks/interop/run.py [NAME …] [--rounds=9]   (needs the requirements of
tests/parity)

Weights are drawn: speed does not depend on them. Loading is measured in a process of its own, which
reports its peak memory. To run, each side has a process of its own, as its users have: mmjax with
the devices and memory settings of its command lines, PyTorch with the C library's, and once more
with mmjax's. They take turns; a turn is as many calls as fit into 0.5 s. The table has medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks.turns import answer, in_turns, mean_seconds

SIDES = ("mmjax", "PyTorch", "PyTorch, kept memory")
WARM_UP = 6  # calls: the first compiles, and the next still get memory
TURN = 0.5  # seconds
BASE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
TEXT = BASE | {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}
VISION = BASE | {"image_size": 224, "patch_size": 32}
MINILM = BASE | {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6}
WHISPER = {"d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6}


class Case(NamedTuple):
    """A model of transformers by its class, its config, and the shapes of its inputs."""

    title: str
    model: str
    config: dict[str, Any]
    inputs: dict[str, tuple[int, ...]]


OUTPUTS = ("logits_per_image", "logits", "last_hidden_state")  # the first of a model is compared
IMAGE_POOLING = (8, 3, 224, 224)
CASES = {
    "clip": Case(
        "CLIP-B/32, 8 pictures and 8 texts of 77",
        "CLIPModel",
        {"vision_config": VISION, "text_config": TEXT},
        {"pixel_values": IMAGE_POOLING, "input_ids": (8, 77)},
    ),
    "vit": Case("ViT-B/16, 8 pictures", "ViTModel", BASE, {"pixel_values": IMAGE_POOLING}),
    "bert": Case("BERT-base, 8 texts of 128", "BertModel", BASE, {"input_ids": (8, 128)}),
    "minilm": Case("MiniLM, 32 texts of 32", "BertModel", MINILM, {"input_ids": (32, 32)}),
    "whisper": Case(
        "Whisper tiny, 2 recordings of 30 s",
        "WhisperForConditionalGeneration",
        WHISPER | {"encoder_ffn_dim": 1536},
        {"input_features": (2, 80, 3000), "decoder_input_ids": (2, 1)},
    ),
}

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


def build(case: Case) -> Any:
    """The model with weights that transformers draws."""
    import transformers

    kind = getattr(transformers, case.model)
    return kind(kind.config_class(**case.config))


def draw(case: Case) -> dict[str, np.ndarray]:
    """Inputs, the same at every call; none of the words ends a text."""
    generator, found = np.random.default_rng(0), {}
    for name, shape in case.inputs.items():
        if name.endswith("ids"):
            found[name] = generator.integers(3, 30_000, shape)
        else:
            found[name] = generator.normal(size=shape).astype(np.float32)
    if case.model == "BertModel":
        found["attention_mask"] = np.ones_like(found["input_ids"])
    return found


def loading(folder: Path) -> None:
    """Prints seconds and memory of loading CLIP-B/32 in float32 and float16."""
    import torch

    model = build(CASES["clip"])
    for precision in ("float32", "float16"):
        model.to(getattr(torch, precision)).save_pretrained(folder / precision)
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


def jax_call(case: Case, folder: Path) -> Callable[[], dict]:
    """A call of the model as mmjax loads it."""
    import jax

    from mmjax import cli, interop

    cli.prepare_devices()
    model, inputs = interop.load(folder), draw(case)
    return lambda: jax.block_until_ready(dict(model(**inputs)))


def torch_call(case: Case, folder: Path, kept: bool) -> Callable[[], dict]:
    """A call of the model as transformers loads it."""
    if kept:
        from mmjax.train.host import memory

        memory.retain_heap()
    import torch
    import transformers

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = getattr(transformers, case.model).from_pretrained(folder).eval()
    inputs = {name: torch.tensor(x) for name, x in draw(case).items()}

    def call():
        with torch.inference_mode():
            return model(**inputs)

    return call


def serve(pipe: Connection, side: str, name: str, folder: Path) -> None:
    """Answers with an output of a model, then with times of a call."""
    case = CASES[name]
    ours = side == "mmjax"
    call = jax_call(case, folder) if ours else torch_call(case, folder, side != "PyTorch")
    for _ in range(WARM_UP):
        found = call()
    key = next(key for key in OUTPUTS if key in found)
    answer(pipe, np.asarray(found[key]), lambda: mean_seconds(call, TURN))


def running(name: str, folder: Path, rounds: int) -> str:
    """A row of the table."""
    found, times, ratios = in_turns(serve, SIDES, (name, folder), rounds)
    distance = np.abs(found[0] - found[1]).max()
    cells = [f"{1e3 * x:,.0f} ms" for x in times[:2]] + [f"{x:.2f}" for x in ratios]
    return f"| {' | '.join([CASES[name].title, *cells, f'{distance:.1e}'])} |"


def main() -> None:
    """Prints what loading takes, and the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        if not arguments.names:
            loading(folder)
        print("| | mmjax | PyTorch | ratio | to PyTorch with kept memory | largest distance |")
        print("|---" * 6 + "|", flush=True)
        for name in arguments.names or CASES:
            build(CASES[name]).save_pretrained(folder / name)
            print(running(name, folder / name, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
