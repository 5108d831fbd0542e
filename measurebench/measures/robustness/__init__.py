"""Accuracies, clean and under attack."""
