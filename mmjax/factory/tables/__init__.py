"""The tables of names that a config may use."""
