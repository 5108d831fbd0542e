"""What a page is about: a table of models with its analysis, its target, and ranks."""
