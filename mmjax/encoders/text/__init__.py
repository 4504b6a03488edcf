"""Text encoders: int32 [B L] in, Tokens out."""
