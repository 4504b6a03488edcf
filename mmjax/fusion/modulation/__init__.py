"""Fusions by which modalities modulate each other's channels."""
