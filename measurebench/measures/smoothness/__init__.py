"""Smoothness: how much the output changes with the input."""
