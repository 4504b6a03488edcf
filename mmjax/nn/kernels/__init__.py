"""Fast forms of layers on a CPU, each beside its plain reference."""
