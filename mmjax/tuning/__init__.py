"""Tuning few parameters of a model: what trains, and small modules put into it from outside."""
