"""Backbones of audio."""
