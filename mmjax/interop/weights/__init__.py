"""The tensors of a file <-> the parameters of a model."""
