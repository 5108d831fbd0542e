"""Runs measurements: plans what is open, measures it, and records each value so that a kill loses nothing."""
