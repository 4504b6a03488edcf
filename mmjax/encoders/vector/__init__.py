"""Encoders of feature vectors (tables, sensors): float32 [B F] in, Tokens out."""
