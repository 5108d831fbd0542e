"""Adversarial images that were made earlier, by measurebench or another program, as an attack."""

from dataclasses import dataclass

from torch import Tensor, nn

from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult
from measurebench.core.errors import BadInputError
from measurebench.core.info import Split

__all__ = ["Supplied"]


@dataclass(frozen=True)
class Supplied:
    """Images that a context was given in place of PGD's; ``splits`` are those that they belong to.

    It is not registered, since without images it is nothing.
    """

    splits: tuple[Split, ...] = ("train", "test")

    @property
    def info(self) -> AttackInfo:
        """Info of an attack whose images all measures share."""
        return AttackInfo(
            id="supplied",
            title="supplied images",
            source="images that the user gave",
            explanation="Adversarial images from a file, audited like those of any attack.",
            cost="F",
            splits=self.splits,
            examples="pgd",
            in_ball=False,
            batch_independent=True,
            reference="adversarial images from a file",
        )

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:  # noqa: ARG002
        """Raise BadInputError: the images [n, ...] come with the context and are not made here."""
        raise BadInputError("attack supplied", "a context with adversarial images", "none")
