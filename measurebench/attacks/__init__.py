"""Attacks and their referee: perturbations within a threat model, and an audit that decides what succeeded."""
