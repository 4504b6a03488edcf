"""Tasks: what is asked of a model, as a few pure functions."""
