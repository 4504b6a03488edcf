"""Modules that hear."""
