"""Forward and backward of each module beside its PyTorch counterpart, in one run, as a ratio.

python experiments/benchmarks/modules/compare.py [NAME …] [--rounds=9] [--compile]   (needs the
requirements of tests/parity)

Both have the same sizes, random weights, no dropout, the sum of squares of the output as loss, and
gradients of all parameters. mmjax shards the batch over one XLA device a core, as its trainer does;
PyTorch uses as many threads; eagerly, or with --compile by torch.compile. Where JAX finds an NVIDIA
GPU, both use it. Rounds alternate; the table has medians. Each module has a process of its own.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable

from mmjax import cli, memory

cli.prepare_devices()

import jax  # noqa: E402  (the devices come first)
import jax.numpy as jnp  # noqa: E402
import torch  # noqa: E402
from encoder_cases import ENCODERS  # noqa: E402
from fusion_cases import FUSIONS  # noqa: E402

from mmjax.train import sharding  # noqa: E402

CASES = ENCODERS | FUSIONS


def jax_step(module, inputs, output) -> tuple[Callable[[], None], int]:
    """A call that computes the gradient once, and the number of parameters."""
    rows = jax.tree.leaves(inputs)[0].shape[0]
    mesh = sharding.make_mesh(data=-1, fsdp=1, tensor=1, rows=(rows,))
    inputs = jax.device_put(inputs, sharding.batch_sharding(mesh))
    variables = jax.jit(module.init)(jax.random.key(0), *inputs)
    variables = jax.device_put(variables, sharding.replicated(mesh))
    params = variables["params"]
    # Batch norms use and update the statistics of the batch, as PyTorch's do in training.
    training = {"deterministic": False, "mutable": ["batch_stats"]} if len(variables) > 1 else {}

    @jax.jit
    def gradient(params, inputs):
        def loss(params):
            result = module.apply(variables | {"params": params}, *inputs, **training)
            y = output(result[0] if training else result)
            return jnp.sum(y.astype(jnp.float32) ** 2)

        return jax.grad(loss)(params)

    def step():
        jax.block_until_ready(gradient(params, inputs))

    return step, sum(p.size for p in jax.tree.leaves(params))


def torch_step(module, call, compiled: bool) -> tuple[Callable[[], None], int]:
    """The same for a PyTorch module."""
    module.train()
    parameters = [p for p in module.parameters() if p.requires_grad]
    run = torch.compile(module) if compiled else module

    def step():
        module.zero_grad(set_to_none=True)
        (call(run) ** 2).sum().backward()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return step, sum(p.numel() for p in parameters)


def milliseconds(step: Callable[[], None]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - begun)


def compare(name: str, rounds: int, compiled: bool) -> str:
    """A row of the table."""
    if jax.default_backend() == "gpu":
        torch.set_default_device("cuda")
    torch.set_num_threads(jax.device_count())
    torch.manual_seed(0)
    case = CASES[name]()
    ours, count = jax_step(case.module, case.inputs, case.output)
    theirs, torch_count = torch_step(case.torch_module, case.torch_call, compiled)
    for step in (ours, theirs) * 3:
        step()
    times = []
    for _ in range(rounds):
        memory.return_freed()  # as the trainer does
        times.append((milliseconds(ours), milliseconds(theirs)))
    own, other = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    parameters = f"{count / 1e6:.2f} / {torch_count / 1e6:.2f}"
    return f"| {name} | {case.size} | {parameters} | {own:.0f} | {other:.0f} | {ratio:.2f} |"


def main() -> None:
    """Prints the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    print("| module | size | parameters, M: mmjax / PyTorch | mmjax, ms | PyTorch, ms | ratio |")
    print("|---" * 6 + "|", flush=True)
    # A process of its own for each: what one leaves of its heap costs the next one page faults.
    fresh = multiprocessing.get_context("spawn")
    for name in arguments.names or CASES:
        with fresh.Pool(1) as pool:
            row = pool.apply(compare, (name, arguments.rounds, arguments.compile))
        print(row, flush=True)


if __name__ == "__main__":
    main()
