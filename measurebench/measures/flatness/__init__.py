"""How much the loss moves with the weights."""
