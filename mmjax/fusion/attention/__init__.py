"""Fusions of token sequences, by attention."""
