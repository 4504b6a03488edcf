"""Balance among modalities: of their gradients, and of what they are good for alone."""
