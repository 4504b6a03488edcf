"""Gradient aggregators: optax transformations of gradients [tasks ...] into gradients [...]."""
