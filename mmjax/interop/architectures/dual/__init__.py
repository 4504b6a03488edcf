"""Families of models of several kinds of input."""
