"""RobustBench's leaderboards: one per data set and threat, each with its number of test images."""

from dataclasses import dataclass

from measurebench.core.errors import BadInputError

__all__ = ["BOARDS", "CORRUPTIONS", "Board", "find_board"]

CORRUPTIONS = "corruptions"


@dataclass(frozen=True)
class Board:
    """One leaderboard: ``threat`` is a norm, or ``corruptions``; ``images`` is how many test images rank its entries.

    Under corruptions an entry's accuracy is the mean over corruptions and severities of the same images. The mean of an
    image lies between 0 and 1, so that its variance is at most that of a single verdict: intervals for ``images``
    verdicts are wide enough.
    """

    dataset: str
    threat: str
    title: str
    images: int

    @property
    def is_corruptions(self) -> bool:
        """Tell whether entries are ranked by accuracy under common corruptions rather than under attack."""
        return self.threat == CORRUPTIONS

    @property
    def name(self) -> str:
        """Return the board's name, such as ``CIFAR-10 Linf``."""
        return f"{self.title} {self.threat}"

    @property
    def slug(self) -> str:
        """Return the board's part of an address: that of CIFAR-10 is its threat alone, as it was before the others."""
        return self.threat if self.dataset == "cifar10" else f"{self.dataset}-{self.threat}"

    @property
    def attacked(self) -> str:
        """Return what an entry's robust accuracy is measured under."""
        return "common corruptions" if self.is_corruptions else "the best known attack"

    @property
    def robust(self) -> str:
        """Return what the accuracy that ranks entries is called."""
        return "corruption accuracy" if self.is_corruptions else "best known robust accuracy"


BOARDS = (
    Board("cifar10", "Linf", "CIFAR-10", 10_000),
    Board("cifar10", "L2", "CIFAR-10", 10_000),
    Board("cifar10", CORRUPTIONS, "CIFAR-10", 10_000),
    Board("cifar100", "Linf", "CIFAR-100", 10_000),
    Board("cifar100", CORRUPTIONS, "CIFAR-100", 10_000),
    Board("imagenet", "Linf", "ImageNet", 5_000),
    Board("imagenet", CORRUPTIONS, "ImageNet", 5_000),
)
"""Every board of the installed package's description."""


def find_board(dataset: str = "cifar10", threat: str = "Linf") -> Board:
    """Return a board by its data set and threat, whatever their case. Raises BadInputError, which lists all boards.

    >>> find_board("imagenet", "linf").images
    5000
    """
    for board in BOARDS:
        if (board.dataset, board.threat.lower()) == (dataset.lower(), threat.lower()):
            return board
    known = ", ".join(f"{board.dataset} {board.threat}" for board in BOARDS)
    raise BadInputError("leaderboard", f"a data set and threat of RobustBench: {known}", f"{dataset} {threat}")
