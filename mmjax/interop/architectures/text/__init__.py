"""Architectures of text models."""
