"""One training run from its settings alone, without a grid file."""

from collections.abc import Mapping
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.training.grid import PlannedTraining, expand
from measurebench.training.training_config import USUAL_BETA

__all__ = ["single_training"]

_WHERE = "settings"


def single_training(
    settings: Mapping[str, Any], dataset: str, *, extra_data: bool = False, checkpoint: str | None = None
) -> list[PlannedTraining]:
    """Return the run that these settings of ``TrainingConfig`` mean; the others come from the data set's recipe.

    ``checkpoint`` is last, best or both (by default). With ``awp`` the optimizer is AWP, and a defense that has a beta
    gets its usual one. Raises BadInputError where ``defense`` is missing, and for settings that cannot be.
    """
    if "defense" not in settings:
        raise BadInputError("train", "--defense (Standard, AT, TRADES or MART) or --grid FILE", "neither")
    for name in ("awp_size", "awp_warmup"):
        if name in settings and "awp" not in settings:
            option = f"--{name.replace('_', '-')}"
            raise BadInputError(option, "--awp layerwise or --awp global beside it", "no --awp")
    if "awp" in settings and settings.get("optimizer", "AWP") != "AWP":
        raise BadInputError("--awp", "--optimizer AWP, or none", f"--optimizer {settings['optimizer']}")
    usual = {"beta": USUAL_BETA.get(settings["defense"]), "optimizer": "AWP" if "awp" in settings else "SGD"}
    run = {name: value for name, value in (usual | dict(settings)).items() if value is not None}
    kept = ["last", "best"] if checkpoint in (None, "both") else [checkpoint]
    try:
        return expand({"runs": [run | {"extra_data": extra_data, "checkpoint": kept}]}, dataset, _WHERE)
    except BadInputError as error:  # there is one run: its number in a grid says nothing to the user
        subject = error.subject.removeprefix(f"{_WHERE}: runs, number 1: ")
        raise BadInputError(subject, error.expected, error.got, error.hint) from None
