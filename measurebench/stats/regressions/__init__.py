"""Regressions of the target on measures and settings."""
