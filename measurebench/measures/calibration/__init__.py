"""Calibration: how confident the network is, and whether its confidence matches its accuracy."""
