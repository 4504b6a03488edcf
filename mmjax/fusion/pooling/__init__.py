"""Fusions of one vector for each modality."""
