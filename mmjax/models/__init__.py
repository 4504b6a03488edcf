"""Models: encoders, fusion and heads put together."""
