"""Losses: arrays in, one value an example out. Masks, means and weights belong to the step."""
