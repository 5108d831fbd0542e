"""Formats of other projects in which results travel: Croissant, every-eval-ever and Hugging Face's."""

from measurebench.store.formats.write import NAMES, export_format

__all__ = ["NAMES", "export_format"]
