"""Eight virtual CPU devices; one compilation cache for all tests and what they start."""

import os
import tempfile

# Most of the time goes into compiling programs that run once: LLVM need not optimise them.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)
os.environ["JAX_PLATFORMS"] = "cpu"
_compiled = tempfile.TemporaryDirectory(prefix="mmjax-compiled-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
