"""Sounds -> the inputs of a model."""
