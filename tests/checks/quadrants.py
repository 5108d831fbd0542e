"""A linear network of four classes, each a quadrant's mean, whose robustness is known by arithmetic.

An image of class k has 1/2 + ``lead`` in quadrant k, 1/2 in the next one and 1/4 in the others. The margin is ``lead``;
a change of radius r moves it by 2 r in Linf and by r sqrt(32) / 16 in L2, its weights being 1/16 on 32 pixels.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

LEADS = (3 / 64, 6 / 64, 9 / 64, 12 / 64)  # turned in Linf beyond 0.0234, 0.0469, 0.0703, 0.0938
SCALE = 40.0
CODE = """
from torch import nn

def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4, bias=False))

def probabilities():
    return nn.Sequential(*plain(), nn.Softmax(1))
"""


def places() -> np.ndarray:
    """Return which pixels [4, 8, 8] belong to each quadrant."""
    masks = np.zeros((4, 8, 8), np.float32)
    for k in range(4):
        row, column = 4 * (k // 2), 4 * (k % 2)
        masks[k, row : row + 4, column : column + 4] = 1
    return masks


def images() -> tuple[np.ndarray, np.ndarray]:
    """Return 16 images [16, 1, 8, 8] and their classes: four of each lead, in the order of the leads."""
    labels = np.arange(16, dtype=np.int64) % 4
    pixels = np.full((16, 1, 8, 8), 0.25, np.float32)
    for i, k in enumerate(labels):
        pixels[i, 0] += places()[k] * np.float32(0.25 + LEADS[i // 4]) + places()[(k + 1) % 4] * np.float32(0.25)
    return pixels, labels


def network() -> nn.Module:
    made = nn.Sequential(nn.Flatten(), nn.Linear(64, 4, bias=False))
    made[1].weight.data = torch.from_numpy(places().reshape(4, 64)) * SCALE / 16
    return made.eval().requires_grad_(False)


def write_model(folder: Path, architecture: str = "plain", facts: str = "") -> str:
    """Write the network with a manifest and return the reference to it."""
    (folder / "nets.py").write_text(CODE)
    torch.save({"state_dict": {"1.weight": network()[1].weight}}, folder / "net.pt")
    (folder / "models.toml").write_text(
        f'[[model]]\nid = "quadrants"\nfile = "net.pt"\narchitecture = "nets.py:{architecture}"\n'
        f'normalization = "none"\nweights = "state_dict"\nnorm = "Linf"\nradius = "1/16"\n{facts}'
    )
    return f"{folder}#quadrants"


def write_images(folder: Path, wrong: int = 4) -> str:
    """Write the images, the last ``wrong`` of them once more with a false label, and return the data set's name."""
    pixels, labels = images()
    x = np.concatenate([pixels, pixels[16 - wrong :]])
    y = np.concatenate([labels, (labels[16 - wrong :] + 1) % 4])
    np.savez(folder / "images.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return f"arrays:{folder / 'images.npz'}"
