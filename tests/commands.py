"""Starts the command lines in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = f"--config.compilation_cache={os.environ['JAX_COMPILATION_CACHE_DIR']}"


def start(module, *arguments, devices=2, prelude=""):
    """Starts `python -m module` in a fresh process; `prelude` is code that runs before it."""
    if any(str(argument).startswith("--config=") for argument in arguments):
        arguments = (*arguments, CACHE)
    code = f"import sys, runpy; sys.argv[1:] = {list(map(str, arguments))!r}; {prelude}\n"
    code += f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}"),
        "PYTHONPATH": str(ROOT),
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes)


def run(module, *arguments, expect=0, **options):
    process = start(module, *arguments, **options)
    out, err = process.communicate(timeout=600)
    assert process.returncode == expect, f"exit code {process.returncode}\n{out}\n{err}"
    return out, err
