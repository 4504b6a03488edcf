"""Architectures of audio models."""
