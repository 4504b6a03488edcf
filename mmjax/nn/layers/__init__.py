"""Layers: plain definitions."""
