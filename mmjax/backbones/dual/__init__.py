"""Modules of several towers."""
