"""Confidence on adversarial examples."""
