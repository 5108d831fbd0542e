"""Keeps the adversarial images of a run's attacks, one file for each model, split and attack."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from measurebench.attacks.audit import AttackOutcome
from measurebench.attacks.supplied import Supplied
from measurebench.core.config import RunConfig
from measurebench.core.info import Split
from measurebench.datasets import ImageSplit
from measurebench.measures.registry import Measure
from measurebench.measures.robustness.accuracy import AttackAccuracy
from measurebench.store.adversarial import adversarial_path, image_digests, saved_indices, write_adversarial

__all__ = ["SavedImages"]


@dataclass(frozen=True)
class SavedImages:
    """The files of one model and configuration in a results folder."""

    folder: Path
    model_id: str
    model_digest: str
    config: RunConfig

    def path(self, item: Measure, split: Split) -> Path:
        """Return the file of an attack's accuracy on a split."""
        return adversarial_path(self.folder, self.model_id, self.config.digest(), split, item.info.id)

    def save(self, item: AttackAccuracy, split: Split, outcome: AttackOutcome, data: ImageSplit) -> None:
        """Write the images of an attack with their verdicts; examples that an earlier run kept stay in the file.

        Images that the user supplied are not kept again.
        """
        if isinstance(item.attack, Supplied):
            return
        arrays: dict[str, Any] = {
            **self._identity(item, split),
            "model_id": self.model_id,
            "dataset": self.config.dataset,
            "seed": self.config.seed,
            "adversarial": outcome.adversarial.float().cpu().numpy(),
            "index": data.indices,
            "label": data.labels,
            "image_digest": image_digests(data.images),
            "correct": outcome.correct.cpu().numpy(),
            "robust": outcome.robust.cpu().numpy(),
            "distance": outcome.distances.cpu().numpy(),
            "violation": outcome.violations.cpu().numpy(),
        }
        write_adversarial(self.path(item, split), {name: np.asarray(values) for name, values in arrays.items()})

    def lacks(self, item: Measure, split: Split, data: ImageSplit) -> bool:
        """Tell whether the images of an attack for some of these examples are not kept; False for other measures."""
        if not isinstance(item, AttackAccuracy) or isinstance(item.attack, Supplied):
            return False
        kept = saved_indices(self.path(item, split), self._identity(item, split))
        return not bool(np.isin(data.indices, kept).all())

    def _identity(self, item: AttackAccuracy, split: Split) -> dict[str, Any]:
        """Return what must agree where rows of two runs stand in one file."""
        info, threat = item.attack.info, self.config.threat
        return {
            "attack": info.id,
            "attack_version": info.version,
            "split": split,
            "norm": threat.norm.value,
            "radius": str(threat.fraction),
            "model_digest": self.model_digest,
        }
