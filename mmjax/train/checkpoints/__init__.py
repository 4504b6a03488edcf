"""The workdir of a run: checkpoints, checksums, and what may change in one."""
