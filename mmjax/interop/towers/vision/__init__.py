"""Modules that see."""
