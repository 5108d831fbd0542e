"""What the standard evaluation found."""

from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Sample", "StandardResult"]


@dataclass(frozen=True)
class Sample:
    """Which of the ``survivors`` of APGD the later attacks took, bool [n] ``chosen``, and how many were ``broken``."""

    survivors: int
    chosen: Tensor
    broken: int


@dataclass(frozen=True)
class StandardResult:
    """What the standard evaluation found, example by example.

    ``adversarial`` [n, ...]: an admissible image that the reference network misclassifies where the example is
    broken, the image itself elsewhere. bool [n]: ``clean``, the clean verdict; ``robust``, correct and withstood every
    attack; ``failed``, correct and not broken, but outputs were not finite, so that nothing was shown. ``withstood``
    bool [n] by attack: not broken when it ended. For broken examples ``broken_by`` int64 [n] is the attack's place
    in the settings (-1: none), ``rank`` the target's and ``step`` the search's step. float64 [n]: ``margins``, the
    least margin that any search saw (infinite where none looked), and ``distances`` of the adversarial images.
    ``n_forward`` and ``n_backward`` int64 [n] count passes. ``flags`` are warnings over the whole set;
    ``diagnostics`` tells of the two networks. ``sample`` is empty unless the later attacks
    took a share.
    """

    adversarial: Tensor
    clean: Tensor
    robust: Tensor
    failed: Tensor
    withstood: dict[str, Tensor]
    broken_by: Tensor
    rank: Tensor
    step: Tensor
    margins: Tensor
    distances: Tensor
    n_forward: Tensor
    n_backward: Tensor
    flags: tuple[str, ...]
    sample: Sample
    diagnostics: dict[str, float | int | str] = field(default_factory=dict)
