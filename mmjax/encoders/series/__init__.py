"""Encoders of time series: float32 [B T F] in, Tokens out."""
