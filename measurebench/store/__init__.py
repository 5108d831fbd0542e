"""Results folders and tables: the only code that writes records, arrays per example and tables of models."""
