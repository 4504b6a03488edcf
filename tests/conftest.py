"""Eight virtual CPU devices for every test, and a compilation cache that the subprocesses share."""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
