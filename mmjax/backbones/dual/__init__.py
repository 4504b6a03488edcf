"""Backbones of several kinds of input."""
