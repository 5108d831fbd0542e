"""Devices, precision, batch sizes and clocks: how numbers are computed, whatever is computed."""
