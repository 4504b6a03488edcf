"""Metrics: arrays in, one value for each example out, so that any mask or group can be averaged."""
