"""Audio encoders: float32 waveforms [B S] in, Tokens out."""
