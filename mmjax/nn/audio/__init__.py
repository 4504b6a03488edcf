"""Waveforms and spectrograms."""
