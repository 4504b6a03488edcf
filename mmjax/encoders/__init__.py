"""Encoders: one raw modality in, Tokens out."""
