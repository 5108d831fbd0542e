"""What a network is made of: its weight layers, what feeds what, and batch norm folded away."""
