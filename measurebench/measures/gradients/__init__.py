"""Norms of the loss's gradients."""
