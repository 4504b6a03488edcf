"""Eight virtual CPU devices; one compilation cache for what the tests start."""

import gc
import os
import tempfile

import jax
import pytest

# Most of the time goes into compiling programs that run once: LLVM need not optimise them.
flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
if jax.__version_info__ < (0, 11):
    # XLA's older code generator, which takes a third of the time; its removal has begun.
    flags += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = flags
os.environ["JAX_PLATFORMS"] = "cpu"
_compiled = tempfile.TemporaryDirectory(prefix="mmjax-compiled-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

# This process compiles too little twice to gain by writing its programs to the cache.
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_compilation_cache", False)

# Python looks for garbage after 700 new objects, which takes a twentieth of the time: tracing makes
# millions, and nearly all of them are freed without that.
gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Linux gives a process 65,530 memory maps; beyond them, some 20,000 programs, XLA crashes."""
    yield
    jax.clear_caches()
