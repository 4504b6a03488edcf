"""What users have, files and values -> the inputs of a model."""
