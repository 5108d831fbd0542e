"""How far the prediction is from turning."""
