"""The attacks of the Adversarial Robustness Toolbox (Nicolae et al. 2018, arXiv:1807.01069): ``art:DeepFool``."""

import importlib
import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from measurebench.attacks.adapters.library import Library, Target, check_norm, within

__all__ = ["ART"]

_NETWORKS = ("estimator", "classifier")
# Classes without an argument ``norm``; those that are not listed are tried with either norm.
_OF_ONE_NORM = {
    **dict.fromkeys(("BasicIterativeMethod", "CarliniLInfMethod"), "Linf"),
    **dict.fromkeys(("BoundaryAttack", "CarliniL2Method", "DeepFool", "NewtonFool", "ZooAttack"), "L2"),
    "ElasticNet": "L1",
    "CarliniL0Method": "L0",
}


def _attack(attack_class: type, settings: Mapping[str, Any], target: Target) -> Tensor:
    """Return the images [n, C, H, W] of one call of ``generate``; the toolbox works on arrays."""
    takes = inspect.signature(attack_class).parameters
    if "norm" not in takes:
        check_norm(target, _OF_ONE_NORM.get(attack_class.__name__, ""))
    given = {
        "norm": math.inf if target.linf else 2,
        "eps": target.threat.radius,
        "batch_size": len(target.images),
        "targeted": False,
        "verbose": False,
    }
    known = {name: value for name, value in given.items() if name in takes}
    attack: Any = attack_class(_classifier(target), **known, **settings)
    labels = nn.functional.one_hot(target.labels, target.n_classes).float()
    found = attack.generate(x=target.images.float().cpu().numpy(), y=labels.cpu().numpy())
    images = torch.as_tensor(found).to(target.images)
    return images if "eps" in takes else within(images, target)


def _classifier(target: Target) -> Any:
    """Return the network as the toolbox wants it, on the device where it is."""
    classification: Any = importlib.import_module("art.estimators.classification")
    return classification.PyTorchClassifier(
        model=target.network,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(target.images.shape[1:]),
        nb_classes=target.n_classes,
        clip_values=(0.0, 1.0),
        device_type="gpu" if target.images.is_cuda else "cpu",
    )


ART = Library(
    name="art",
    distribution="adversarial-robustness-toolbox",
    module="art.attacks.evasion",
    base="art.attacks.attack:EvasionAttack",
    install="pip install adversarial-robustness-toolbox",
    given={
        **dict.fromkeys(_NETWORKS, ""),
        "norm": "--norm",
        "eps": "--radius",
        "batch_size": "--batch-size",
        "targeted": "",
        "verbose": "",
        "summary_writer": "",
    },
    example="ProjectedGradientDescent",
    attack=_attack,
)
