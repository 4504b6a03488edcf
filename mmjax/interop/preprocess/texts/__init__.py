"""Texts <-> ids."""
