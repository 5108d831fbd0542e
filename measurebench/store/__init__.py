"""The only code that writes under a results folder: journal, per-example arrays, catalogue, tidy tables."""
