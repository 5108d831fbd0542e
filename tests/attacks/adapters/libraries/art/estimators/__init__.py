"""Networks as the toolbox wants them."""
