"""Architectures of models with several kinds of input."""
