"""An architecture: a network with one hidden layer."""

from torch import nn

from measurebench.models.architectures import architecture

__all__ = ["example_mlp"]


@architecture("example-mlp", source="An example", image_shape=(1, 8, 8))
def example_mlp(n_classes: int = 10, in_channels: int = 1, width: int = 32) -> nn.Module:
    """Return a network for 8x8 images with one hidden layer of this width."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, width), nn.ReLU(), nn.Linear(width, n_classes))
