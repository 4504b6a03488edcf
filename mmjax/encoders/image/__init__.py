"""Image encoders: uint8 [R H W 3] in, Tokens out."""
