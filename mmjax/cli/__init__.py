"""What the command lines share: flags, config files, devices, and errors with an exit code."""

from mmjax.cli.config_file import load_config, recipes
from mmjax.cli.devices import make_directory, prepare_devices, use_compilation_cache
from mmjax.cli.distributed import join
from mmjax.cli.flags import Given, config_arguments, flag_lines, help_topic, parse, require
from mmjax.cli.running import EXHAUSTED, TRAINING, require_packages, run
from mmjax.errors import nearest

__all__ = [
    "EXHAUSTED",
    "TRAINING",
    "Given",
    "config_arguments",
    "flag_lines",
    "help_topic",
    "join",
    "load_config",
    "make_directory",
    "nearest",
    "parse",
    "prepare_devices",
    "recipes",
    "require",
    "require_packages",
    "run",
    "use_compilation_cache",
]
