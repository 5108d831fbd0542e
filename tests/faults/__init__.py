"""Faults of the disk, injected at every step of every command that writes."""
