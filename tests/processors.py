"""What runs on which kind of processor, seen without one: in the program lowered for it."""

import jax


def assert_library_convolutions(function, *args, on_cpu=0):
    """One in a bilinear function, and two in its gradient; on CPU `on_cpu`, and none."""
    gradient = jax.grad(lambda *args: function(*args).sum(), (0, 1))
    for run, convolutions, fast in ((function, 1, on_cpu), (gradient, 2, 0)):
        traced = jax.jit(run).trace(*args)
        for platform, expected in (("cpu", fast), ("tpu", convolutions)):
            program = traced.lower(lowering_platforms=(platform,)).as_text()
            assert program.count("stablehlo.convolution") == expected
