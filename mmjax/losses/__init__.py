"""Losses: arrays in, one value for each example out. Masks, means and weights belong to the step."""
