"""What to load: the specification of a model, made without reading its weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from measurebench.core.digests import digest_json
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel

__all__ = ["NORMALIZATIONS", "ModelSpec", "Normalization", "Setting"]

Setting = str | int | float | bool | None

NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per channel, subtracted and divided inside the network; empty for none.

    ``stated`` is False where nobody said so: a normalisation kept in the checkpoint itself is then used.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    stated: bool = field(default=True, compare=False)

    @classmethod
    def named(cls, name: str, subject: str = "normalization") -> "Normalization":
        """Return the normalisation called ``none``, ``cifar10`` or ``imagenet``.

        Raises BadInputError, which names ``subject``, for another name.
        """
        if name == "none":
            return cls()
        if name not in NORMALIZATIONS:
            raise BadInputError(subject, "none, cifar10, imagenet, or { mean = [...], std = [...] }", repr(name))
        return cls(*NORMALIZATIONS[name])

    @classmethod
    def parse(cls, value: "str | Mapping[str, Any] | Normalization", subject: str = "normalization") -> "Normalization":
        """Read a name, a table with ``mean`` and ``std``, or such a table as TOML text (from the command line).

        Raises BadInputError for anything else, or where ``mean`` and ``std`` differ in length.

        >>> Normalization.parse("{ mean = [0.5], std = [0.25] }")
        Normalization(mean=(0.5,), std=(0.25,), stated=True)
        """
        if isinstance(value, Normalization):
            return value
        if isinstance(value, str) and not value.strip().startswith("{"):
            return cls.named(value, subject)
        table = _inline_table(value) if isinstance(value, str) else value
        if not isinstance(table, Mapping) or set(table) != {"mean", "std"}:
            raise BadInputError(subject, "none, cifar10, imagenet, or { mean = [...], std = [...] }", repr(value))
        mean, std = (_numbers(table[name], f"{subject}: {name}", name == "std") for name in ("mean", "std"))
        if len(mean) != len(std):
            raise BadInputError(subject, "as many numbers in std as in mean", f"{len(std)} and {len(mean)}")
        return cls(mean, std)


def _inline_table(text: str) -> Any:
    """Return what an inline table of TOML holds, or None."""
    import tomllib

    try:
        content = tomllib.loads(f"table = {text.strip()}")
    except (ValueError, RecursionError):
        return None
    return content["table"] if len(content) == 1 else None


def _numbers(value: Any, subject: str, positive: bool) -> tuple[float, ...]:
    """Return a list of finite numbers as a tuple, one per channel."""
    numbers = value if isinstance(value, list | tuple) else ()
    fit = [isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in numbers]
    if not fit or not all(fit) or (positive and min(numbers) <= 0):
        raise BadInputError(
            subject, f"a list of {'positive ' if positive else ''}numbers, one per channel", repr(value)
        )
    return tuple(float(x) for x in numbers)


@dataclass(frozen=True)
class ModelSpec:
    """A model as named by a reference or a manifest; an unknown setting is None, never a guess.

    ``source`` is where it comes from (digits, robustbench, local, memory), ``locator`` the file or the id there,
    ``weights`` the path of keys to the state dict inside the file, ``initial`` the file with the weights at
    epoch 0, ``run`` the training run that checkpoints share, ``cluster`` the paper or base network,
    ``allow_pickle`` the user's leave to run the code in this file. ``manifest`` is the file that names all this, None
    where the user did; ``trust_code`` is the user's leave to run code that it names.
    """

    id: str
    source: str
    locator: str
    reference: str = ""
    dataset: str | None = None
    file_sha256: str | None = None
    threat_model: ThreatModel | None = None
    architecture: str | None = None
    architecture_kwargs: Mapping[str, Any] = field(default_factory=dict)
    architecture_folder: str | None = None
    normalization: Normalization = field(default_factory=Normalization)
    weights: tuple[str | int, ...] = ()
    initial: str | None = None
    defense: str | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    run: str | None = None
    cluster: str | None = None
    expected_clean_accuracy: float | None = None
    allow_pickle: bool = False
    manifest: str | None = None
    trust_code: bool = False

    def digest(self, initial_sha256: str | None = None, code_sha256: str | None = None) -> str:
        """Digest of all that determines the network's function: weights, architecture, normalisation.

        ``code_sha256`` is the hash of the file that defines the architecture, where the user wrote one.
        """
        return digest_json(
            {
                "file": self.file_sha256 or f"{self.source}:{self.locator}",
                "weights": list(self.weights),
                "architecture": self.architecture,
                "kwargs": dict(self.architecture_kwargs),
                "normalization": [list(self.normalization.mean), list(self.normalization.std)],
                "initial": initial_sha256,
                "code": code_sha256,
            }
        )
