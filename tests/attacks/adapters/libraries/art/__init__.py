"""A stand-in with the interface of the Adversarial Robustness Toolbox 1.20.1."""

__version__ = "1.20.1"
