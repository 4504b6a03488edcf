"""Fusions by relations between objects or modalities."""
