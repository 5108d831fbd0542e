"""Classes of attacks."""
