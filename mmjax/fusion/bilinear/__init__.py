"""Fusions by products: bilinear forms and tensors."""
