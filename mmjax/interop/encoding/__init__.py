"""Parts of published models as encoders of recipes."""
