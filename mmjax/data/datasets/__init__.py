"""Data sets, a file or a room each."""
