"""The page of a single model."""
