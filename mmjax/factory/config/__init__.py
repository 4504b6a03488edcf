"""The config: its keys, their types and defaults, and what may be given for them."""
