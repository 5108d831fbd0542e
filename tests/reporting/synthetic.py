"""A seeded table of models with known structure: what pages are built from in the tests."""

import itertools

import numpy as np
import pandas as pd

from measurebench.core.info import FAMILIES, MeasureInfo

MEASURES = (
    "num_params",
    "path_norm",
    "log_prod_of_spec",
    "log_prod_of_fro",
    "average_ce_pgd",
    "inverse_margin_pgd",
    "prob_margin_pgd",
    "boundary_thickness",
    "kl_divergence_pgd",
    "local_lip",
    "pacbayes_flat_pgd",
    "estimated_sharpness_pgd",
    "average_flat_pgd",
    "x_grad_norm_pgd",
    "w_grad_norm_pgd",
)
DEFENSES = ("Standard", "AT", "TRADES")


def study_table(n_models: int = 36, n_measures: int = len(MEASURES), seed: int = 0) -> pd.DataFrame:
    """Return models over a grid of defenses, architectures and settings.

    ``x_grad_norm_pgd`` rises with the gap everywhere, ``local_lip`` rises under AT and falls under TRADES, the rest
    is noise of growing strength.
    """
    rng = np.random.default_rng(seed)
    grid = itertools.cycle(itertools.product(DEFENSES, ("plain", "residual"), (False, True), (32, 128)))
    rows = []
    for i, (defense, architecture, augmentation, batch) in zip(range(n_models), grid, strict=False):
        gap = float({"Standard": 0.005, "AT": 0.13, "TRADES": 0.08}[defense] + 0.03 * rng.standard_normal())
        test = float(np.clip((0.04 if defense == "Standard" else 0.5) + 0.05 * rng.standard_normal(), 0.01, 0.9))
        row = {
            "model_id": f"{defense.lower()}-{architecture}-{i:04d}",
            "source": "digits",
            "architecture": architecture,
            "n_parameters": 1000 * (1 + i % 5),
            "defense": defense,
            "dataset": "digits",
            "norm": "Linf",
            "radius": "1/8",
            "run": f"run{i}",
            "setting_augmentation": augmentation,
            "setting_batch_size": batch,
            "n_train": 500,
            "n_test": 500,
            "clean_accuracy_train": 0.99,
            "clean_accuracy_test": 0.95,
            "pgd_accuracy_train": test + gap,
            "pgd_accuracy_test": test,
            "robust_gap_pgd": gap,
        }
        for k in range(n_measures):
            name = MEASURES[k] if k < len(MEASURES) else f"extra_measure_{k}"
            row[name] = gap * 3 + (0.02 + 0.05 * k) * float(rng.standard_normal()) + 5
        row["x_grad_norm_pgd"] = float(np.exp(8 * gap + 0.05 * rng.standard_normal()))
        sign = {"AT": 1, "TRADES": -1}.get(defense, 0)
        row["local_lip"] = 2 + sign * 8 * gap + 0.03 * float(rng.standard_normal())
        rows.append(row | {"status": "measured", "reason": ""})
    return pd.DataFrame(rows)


def infos() -> dict[str, MeasureInfo]:
    """Return infos for the named measures, with texts that say so."""
    return {
        name: MeasureInfo(
            id=name,
            title=name.replace("_", " "),
            family=FAMILIES[i % 5],
            unit="nats" if "ce" in name else "1",
            formula="sum over images / n",
            source="made for the tests",
            hypothesis="+" if i % 2 else "-",
            inputs=("weights",),
            cost="1 F",
            explanation=f"Explains {name}.",
        )
        for i, name in enumerate(MEASURES)
    }
