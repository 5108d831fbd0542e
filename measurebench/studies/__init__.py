"""Publishes a study: its table, curves, claims and data card, from what was trained and measured."""

from measurebench.studies.card import Card, Change, fill
from measurebench.studies.collect import Publication, publish_study

__all__ = ["Card", "Change", "Publication", "fill", "publish_study"]
