"""Modules that read."""
