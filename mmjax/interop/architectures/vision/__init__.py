"""Architectures of models that see pictures or clips."""
