"""What a whole training step takes without each fast form of `mmjax.nn.kernels`, as a ratio.

python experiments/benchmarks/kernels.py CASE[=FORM,...] ... [--rounds=9]

A case is a module below, of 16 to 64 examples, or a config, such as vqa or fusion:digits; its step
is AdamW's, or the trainer's. All programs are compiled in one process and take turns; without
FORMs, each one that the step has is left out, and last all of them. Ratios are of processor time,
which what else the machine does disturbs less than the wall's: of the minima, and the median of
those within a round. A form stays if it is worth 5 % of some step (kernels.md).
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

from mmjax import cli, factory
from mmjax.encoders.image.mobilenet import MobileNetV2
from mmjax.encoders.image.resnet import ResNet
from mmjax.encoders.image.vit import Vit
from mmjax.encoders.text.transformer import TextTransformer
from mmjax.encoders.video.cnn3d import Cnn3d
from mmjax.encoders.video.video_mae import VideoMae
from mmjax.fusion.attention.vilbert import CoAttentionalTransformerFusion
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.nn import kernels
from mmjax.nn.layers.recurrent import Recurrent
from mmjax.train import sharding
from mmjax.train.host import memory
from mmjax.train.run import Run
from mmjax.types import Tokens

random = np.random.default_rng(0)
left_out: set[str] = set()  # names of forms that are not used while a step is traced
seen: set[str] = set()


def normal(*shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(np.float32)


def pixels(*shape: int) -> np.ndarray:
    return random.integers(0, 256, shape, np.uint8)


def tokens(rows: int) -> dict[str, Tokens]:
    return {
        name: Tokens(normal(rows, count, 192), np.ones((rows, count), bool))
        for name, count in (("a", 49), ("b", 16))
    }


def text() -> TextTransformer:
    options = {"norm": "post", "activation": "gelu_exact", "embedding_norm": True}
    return TextTransformer(192, 1000, layers=4, heads=4, **options)


# The sizes of modules/compare.py, with fewer examples where they are large.
MODULES: dict[str, Callable[[], tuple]] = {
    "bert": lambda: (text(), random.integers(5, 1000, (64, 48), np.int32)),
    "cnn3d": lambda: (
        Cnn3d(192, (32, 64, 128), time_strides=(1, 1, 1), output="mean"),
        pixels(16, 8, 64, 64, 3),
    ),
    "concat": lambda: (ConcatFusion(192), tokens(512)),
    "gru": lambda: (Recurrent(128, "gru"), normal(64, 64, 128), np.ones((64, 64), bool)),
    "lstm": lambda: (Recurrent(128, "lstm"), normal(64, 64, 128), np.ones((64, 64), bool)),
    "mobilenet_v2": lambda: (MobileNetV2(64, output="mean"), pixels(32, 96, 96, 3)),
    "resnet18": lambda: (ResNet(64, output="mean"), pixels(32, 96, 96, 3)),
    "video_mae": lambda: (VideoMae(192, 8, layers=4, heads=4), pixels(16, 8, 64, 64, 3)),
    "vilbert": lambda: (CoAttentionalTransformerFusion(192), tokens(64)),
    "vit": lambda: (Vit(192, 8, layers=4, heads=3, class_token=True), pixels(64, 64, 64, 3)),
}


def module_step(name: str) -> tuple[Callable, tuple]:
    """(state, inputs) -> state, and both."""
    module, *inputs = MODULES[name]()
    rows = jax.tree.leaves(inputs)[0].shape[0]
    mesh = sharding.make_mesh(data=-1, fsdp=1, tensor=1, rows=(rows,))
    inputs = jax.device_put(inputs, sharding.batch_sharding(mesh))
    variables = jax.jit(module.init)(jax.random.key(0), *inputs)
    training = {"deterministic": False, "mutable": ["batch_stats"]} if len(variables) > 1 else {}
    optimizer = optax.adamw(1e-4)

    def step(state, inputs):
        def loss(params):
            out = module.apply(variables | {"params": params}, *inputs, **training)
            return jnp.mean(jax.tree.leaves(out)[0].astype(jnp.float32) ** 2)

        updates, kept = optimizer.update(jax.grad(loss)(state[0]), state[1], state[0])
        return optax.apply_updates(state[0], updates), kept

    state = variables["params"], optimizer.init(variables["params"])
    state = jax.device_put(state, sharding.replicated(mesh))
    return sharding.within(mesh, step), (state, inputs)


def config_step(name: str) -> tuple[Callable, tuple]:
    """The trainer's own."""
    file, _, variant = name.partition(":")
    config = cli.load_config(f"configs/{file}.py" + (f":{variant}" if variant else ""))
    with tempfile.TemporaryDirectory() as directory:
        path, experiment = factory.experiment(factory.overridden(config, []), directory)
        run = Run(experiment, path, Console())
    arguments = run.create(), run.put(next(experiment.train_data()))
    return run.program.step.__wrapped__, arguments


@contextlib.contextmanager
def without(form: str):
    """The step that is traced within has it not."""
    left_out.add(form)
    with kernels.use(form != "all"):
        yield
    left_out.clear()


def compare(name: str, forms: list[str], rounds: int) -> None:
    """Prints a row for each form."""
    step, arguments = (module_step if name in MODULES else config_step)(name)

    def program(form: str):
        with without(form):
            return jax.jit(lambda *given: step(*given)).lower(*arguments).compile()

    seen.clear()
    programs = {"nothing": program("nothing")}
    programs |= {form: program(form) for form in forms or [*sorted(seen), "all"]}
    times: dict[str, list[float]] = {form: [] for form in programs}
    for turn in range(rounds + 2):
        for form in list(programs)[:: 1 if turn % 2 else -1]:
            memory.trim_heap()
            begun = time.process_time()
            jax.block_until_ready(programs[form](*arguments))
            if turn > 1:
                times[form].append(time.process_time() - begun)
    whole = times.pop("nothing")
    for form, own in times.items():
        median = statistics.median(a / b for a, b in zip(own, whole, strict=True))
        least = min(own) / min(whole)
        cells = name, f"{1e3 * min(whole):.0f}", form, f"{least:.2f}", f"{median:.2f}"
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    cli.prepare_devices()
    choose = jax.lax.platform_dependent

    def chosen(*args, default, **forms):
        if "cpu" in forms:
            form = getattr(forms["cpu"], "func", forms["cpu"]).__name__
            seen.add(form)
            forms = {} if form in left_out else forms
        return choose(*args, default=default, **forms) if forms else default(*args)

    jax.lax.platform_dependent = chosen
    print("| step | ms of processors | without | ratio of minima | median ratio |")
    print("|---|---|---|---|---|")
    for case in options.cases:
        name, _, forms = case.partition("=")
        compare(name, forms.split(",") if forms else [], options.rounds)


if __name__ == "__main__":
    main()
