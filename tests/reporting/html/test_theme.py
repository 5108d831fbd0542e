from itertools import combinations

import numpy as np
import pytest

from measurebench.reporting.html.theme import DARK, LIGHT, SERIES, SHAPES, contrast, resolved, series

SCHEMES = {"light": LIGHT, "dark": DARK}
# Linear-light matrices of Machado, Oliveira and Fernandes 2009, severity 1: deuteranopia and protanopia.
DEFICIENCIES = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}


def test_contrast_of_black_on_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ink", ["ink", "muted", "accent", "bad"])
@pytest.mark.parametrize("ground", ["paper", "panel", "mark"])
def test_text_has_contrast_of_at_least_4_5(scheme: str, ink: str, ground: str) -> None:
    colors = SCHEMES[scheme]
    assert contrast(colors[ink], colors[ground]) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("step", range(1, 10))
def test_numbers_on_every_colour_of_the_heat_map_have_contrast_of_at_least_4_5(scheme: str, step: int) -> None:
    colors = SCHEMES[scheme]
    assert contrast(colors[f"t{step}"], colors[f"h{step}"]) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("number", range(1, 9))
def test_marks_have_contrast_of_at_least_3_to_the_paper(scheme: str, number: int) -> None:
    assert contrast(SCHEMES[scheme][f"s{number}"], SCHEMES[scheme]["paper"]) >= 3.0


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_first_four_series_stay_apart_for_colour_blind_readers(scheme: str, deficiency: str) -> None:
    seen = [_seen(SCHEMES[scheme][f"s{i}"], DEFICIENCIES[deficiency]) for i in range(1, 5)]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 0.08


def _seen(color: str, matrix: list[list[float]]) -> np.ndarray:
    srgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    mixed = np.clip(np.array(matrix) @ linear, 0, 1)
    return np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)


def test_every_series_has_a_shape_of_its_own() -> None:
    colors, shapes = series([str(i) for i in range(16)])
    assert len(set(zip(colors, shapes, strict=True))) == 16
    assert (len(set(SERIES)), len(set(SHAPES))) == (8, 8)


def test_figures_outside_a_page_hold_plain_colours() -> None:
    assert resolved({"a": ["var(--ink)", 1, {"b": "var(--s1)"}]}) == {"a": [LIGHT["ink"], 1, {"b": LIGHT["s1"]}]}
