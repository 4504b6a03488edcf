"""Training: state, step (pure), loop, optimizer, checkpoint, evaluate, sharding, writers."""
