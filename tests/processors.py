"""What runs on which kind of processor, seen without one: in the program lowered for it."""

import jax


def assert_library_convolutions(function, *args):
    """None on CPU; elsewhere one in a bilinear function, and two in its gradient."""
    gradient = jax.grad(lambda *args: function(*args).sum(), (0, 1))
    for run, convolutions in ((function, 1), (gradient, 2)):
        traced = jax.jit(run).trace(*args)
        for platform, expected in (("cpu", 0), ("tpu", convolutions)):
            program = traced.lower(lowering_platforms=(platform,)).as_text()
            assert program.count("stablehlo.convolution") == expected
