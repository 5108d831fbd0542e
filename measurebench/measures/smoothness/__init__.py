"""How much the output moves with the input."""
