"""Draws of whole training runs, weighted pair counts and concordance: what all intervals and p-values rest on."""
