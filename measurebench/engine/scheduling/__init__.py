"""Divides a run into blocks, predicts what they cost, and hands them out to workers and machines."""

__all__: list[str] = []
