"""What a run tells: progress, tables, curves, logs."""
