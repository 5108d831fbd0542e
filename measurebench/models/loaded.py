"""A network that is ready to be measured, with the specification from which it was made."""

from dataclasses import dataclass

from torch import nn

from measurebench.core.specs import ModelSpec

__all__ = ["LoadedModel"]


@dataclass(frozen=True)
class LoadedModel:
    """``network`` maps float32 [n, C, H, W] in [0, 1] to logits [n, classes]; eval mode, frozen, on the CPU.

    ``initial`` is the same network with its weights at epoch 0, where the specification names them.
    ``digest`` names all that determines the network's function. ``notes`` say what was found on the way.
    Made only by ``load_model``.
    """

    spec: ModelSpec
    network: nn.Module
    initial: nn.Module | None
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def n_parameters(self) -> int:
        """Number of parameters, without buffers."""
        return sum(parameter.numel() for parameter in self.network.parameters())
