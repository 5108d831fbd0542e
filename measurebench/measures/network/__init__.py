"""The structure of a network: its weight layers, the order in which they are called, and batch norm folding."""
