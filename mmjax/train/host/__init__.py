"""What a run does with its machine: memory, signals, several processes."""
