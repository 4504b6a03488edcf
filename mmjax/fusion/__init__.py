"""Fusions: Tokens by modality name in, one Fused out."""
