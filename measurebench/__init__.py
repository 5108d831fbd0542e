"""Measure robust classifiers and judge which measures predict their robust generalization."""
