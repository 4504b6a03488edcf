"""Trained and published models as functions of what users have."""
