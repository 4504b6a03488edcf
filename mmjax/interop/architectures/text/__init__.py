"""Families of models that read."""
