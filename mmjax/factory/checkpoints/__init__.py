"""What a run starts from and gives back: published models, other runs."""
