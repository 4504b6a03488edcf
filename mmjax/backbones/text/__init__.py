"""Backbones of text."""
