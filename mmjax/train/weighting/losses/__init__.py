"""Weightings of tasks by their losses: one backward pass."""
