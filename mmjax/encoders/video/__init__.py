"""Video encoders: uint8 [R T H W 3] in, Tokens out."""
