"""Figures: a chart with its data and title, pictures, the gallery, and figures written as files."""
