"""Speech to text with published models."""
