"""Flatness: how much the loss or the accuracy changes with the weights."""
