"""Tables for the tests of the statistics, and brute-force references that share no code with the package."""

import itertools

import numpy as np
import pandas as pd


def grid(seed: int = 0, strength: float = 1.0) -> pd.DataFrame:
    """Return a factorial grid: 3 defenses x 2 architectures x 2 x 2 settings, runs of two checkpoints; 48 models."""
    rng = np.random.default_rng(seed)
    rows = []
    for defense, architecture, aug, batch, stop in itertools.product(
        ("AT", "TRADES", "MART"), ("plain", "wide"), (False, True), (64, 128), ("best", "last")
    ):
        name = f"{defense}-{architecture}-{aug}-{batch}"
        latent = rng.normal()
        train = np.clip(0.6 + 0.08 * latent + 0.05 * (stop == "last"), 0, 1)
        counts = rng.binomial(1000, train), rng.binomial(1000, 0.45)
        rows.append(
            {
                "model_id": f"{name}-{stop}",
                "defense": defense,
                "architecture": architecture,
                "setting_augmentation": aug,
                "setting_batch_size": batch,
                "setting_stop": stop,
                "run": name,
                "n_train": 1000,
                "n_test": 1000,
                "pgd_accuracy_train": counts[0] / 1000,
                "pgd_accuracy_test": counts[1] / 1000,
                "robust_gap_pgd": (counts[0] - counts[1]) / 1000,
                "signal": strength * latent + 0.5 * rng.normal(),
                "noise": rng.normal(),
                "tied": float(rng.integers(0, 4)),
            }
        )
    return pd.DataFrame(rows)


def pair_tau(x: np.ndarray, y: np.ndarray, variant: str = "b") -> float:
    """Count pairs one by one."""
    concordant = untied_x = untied_y = total = 0
    for i, j in itertools.combinations(range(len(x)), 2):
        a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
        concordant += a * b
        untied_x += a != 0
        untied_y += b != 0
        total += 1
    if variant == "a":
        return concordant / total
    return concordant / np.sqrt(untied_x * untied_y) if untied_x * untied_y else float("nan")


def brute_psi(table: pd.DataFrame, axes: list[str], axis: str, measure: str) -> float:
    """Average tau_a over the groups of models that agree in all other settings."""
    taus = []
    for _, group in table.groupby([a for a in axes if a != axis]):
        x, y = group[measure].to_numpy(float), group["robust_gap_pgd"].to_numpy(float)
        signs = [
            np.sign(x[i] - x[j]) * np.sign(y[i] - y[j])
            for i, j in itertools.combinations(range(len(group)), 2)
            if group[axis].iloc[i] != group[axis].iloc[j]
        ]
        if signs:
            taus.append(np.mean(signs))
    return float(np.mean(taus))
