"""Forward and backward of each module beside its PyTorch counterpart, in one run, as a ratio.

python experiments/benchmarks/modules/compare.py [NAME …] [--rounds=9] [--compile]   (needs the
requirements of tests/parity)

Both have the same sizes, random weights, no dropout, the sum of squares of the output as loss, and
gradients of all parameters. mmjax shards the batch over one XLA device a core, as its trainer does;
PyTorch uses as many threads; eagerly, or with --compile by torch.compile. Where there is an NVIDIA
GPU, both use it. Each side has a process of its own, as its users have: mmjax with the memory
settings of its command lines, PyTorch with the C library's, and once more with mmjax's. Once all
hold the memory that they come to need, they take turns of as many steps as fit into 0.3 s. The
table has medians.
"""

import argparse
import os
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection

import jax
import jax.numpy as jnp
import torch
from encoder_cases import ENCODERS
from fusion_cases import FUSIONS

from experiments.benchmarks.turns import answer, in_turns, mean_seconds
from mmjax import cli
from mmjax.train import sharding
from mmjax.train.host import memory

CASES = ENCODERS | FUSIONS
SIDES = ("mmjax", "PyTorch", "PyTorch, kept memory")
CALM, MOST = 10, 80  # steps in a row without more memory, and all steps, that are not measured
TURN = 0.3  # seconds


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

    def gradient(params, inputs):
        def loss(params):
            result = module.apply(variables | {"params": params}, *inputs, **training)
            y = output(result[0] if training else result)
            return jnp.sum(y.astype(jnp.float32) ** 2)

        return jax.grad(loss)(params)

    gradient = jax.jit(sharding.within(mesh, gradient))

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


def warm_up(step: Callable[[], None]) -> None:
    """Steps until the process holds all the memory that it comes to need."""
    peak = calm = 0
    for _ in range(MOST):
        step()
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak, calm = max(peak, held), 0 if held > peak else calm + 1
        if calm == CALM:
            return


def serve(pipe: Connection, side: str, name: str, compiled: bool) -> None:
    """Answers with the size of a case and its parameters' number, then with times of a step."""
    if side == "mmjax":
        cli.prepare_devices()
    elif side == "PyTorch, kept memory":
        memory.retain_heap()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    if side != "mmjax" and torch.cuda.is_available():
        torch.set_default_device("cuda")
    case = CASES[name]()
    if side == "mmjax":
        step, count = jax_step(case.module, case.inputs, case.output)
    else:
        step, count = torch_step(case.torch_module, case.torch_call, compiled)
    warm_up(step)

    def measure() -> float:
        if side == "mmjax":
            memory.trim_heap()  # as the trainer does
        return mean_seconds(step, TURN)

    answer(pipe, (case.size, count), measure)


def compare(name: str, rounds: int, compiled: bool) -> str:
    """A row of the table."""
    ready, times, ratios = in_turns(serve, SIDES, (name, compiled), rounds)
    size, counts = ready[0][0], " / ".join(f"{count / 1e6:.2f}" for _, count in ready[:2])
    cells = [f"{1000 * x:.0f}" for x in times[:2]] + [f"{x:.2f}" for x in ratios]
    return f"| {' | '.join([name, size, counts, *cells])} |"


def main() -> None:
    """Prints the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    print(
        "| module | size | parameters, M: mmjax / PyTorch | mmjax, ms | PyTorch, ms | ratio", end=""
    )
    print(" | to PyTorch with kept memory |")
    print("|---" * 7 + "|", flush=True)
    for name in arguments.names or CASES:
        print(compare(name, arguments.rounds, arguments.compile), flush=True)


if __name__ == "__main__":
    main()
