"""Families of models that hear."""
