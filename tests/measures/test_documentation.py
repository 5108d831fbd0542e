from pathlib import Path

import pytest

from measurebench.core.infos import INFOS_FILE, infos_text, measure_infos
from measurebench.measures.documentation import infos, page, write_documentation
from measurebench.measures.registry import all_measures

ROOT = Path(__file__).parents[2]
HINT = "run `measurebench measures --write-docs .`"
CORE = [
    "num_params",
    "path_norm",
    "log_prod_of_spec",
    "log_prod_of_fro",
    "euclid_init_norm",
    "average_ce_pgd",
    "inverse_margin_pgd",
    "prob_margin_pgd",
    "boundary_thickness",
    "kl_divergence_pgd",
    "local_lip",
    "pacbayes_flat_pgd",
    "pacbayes_mag_flat_pgd",
    "estimated_sharpness_pgd",
    "estimated_inv_sharpness_pgd",
    "average_flat_pgd",
    "x_grad_norm_pgd",
    "w_grad_norm_pgd",
]


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "measures.md").read_text(encoding="utf-8") == page(), HINT


def test_the_list_without_torch_is_up_to_date() -> None:
    assert INFOS_FILE.read_text(encoding="utf-8") == infos_text(infos()), HINT


def test_infos_survive_the_file() -> None:
    assert list(measure_infos().values()) == infos()


def test_the_core_is_the_study_s_list() -> None:
    assert {info.id for info in infos() if info.tier == "core"} == set(CORE)


@pytest.mark.parametrize("name", list(all_measures()))
def test_the_page_says_what_a_measure_says(name: str) -> None:
    info, text = all_measures()[name].info, page()
    assert f"`{name}`" in text
    for said in (info.latex, info.explanation, info.source, info.departures, *info.variants.values()):
        assert said in text


def test_both_files_are_written(tmp_path: Path) -> None:
    (tmp_path / "measurebench" / "measures").mkdir(parents=True)
    assert [path.read_text(encoding="utf-8") for path in write_documentation(tmp_path)] == [page(), infos_text(infos())]
