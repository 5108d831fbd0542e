"""Margins: how far a prediction is from changing."""
