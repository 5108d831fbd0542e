"""RobustBench's list as the installed package describes it, with what is curated beside it."""

import pytest

from measurebench.core.errors import BadInputError
from measurebench.models.references import resolve
from measurebench.models.robustbench.zoo import entries, weights_folder


def test_all_entries_of_the_pinned_version_are_listed() -> None:
    norms = [entry.threat.norm.value for entry in entries()]
    assert (norms.count("Linf"), norms.count("L2")) == (76, 21)


def test_row_is_read_whole() -> None:
    entry = next(e for e in entries() if e.id == "Wong2020Fast")
    assert entry.paper == "Fast is better than free: Revisiting adversarial training"
    assert entry.link == "https://arxiv.org/abs/2001.03994"
    assert (entry.clean_accuracy, entry.robust_accuracy) == (0.8334, 0.4321)
    assert (entry.architecture, entry.venue) == ("PreActResNet-18", "ICLR 2020")
    assert str(entry.threat) == "Linf 8/255"


def test_every_entry_is_curated_with_a_source_and_a_known_family() -> None:
    families = {
        "AT",
        "AWP",
        "DKL",
        "FAT",
        "HAT",
        "MART",
        "OA-AT",
        "RATIO",
        "SCORE",
        "Standard",
        "TRADES",
        "architecture design",
        "curriculum",
        "data augmentation",
        "data filtering",
        "distillation",
        "ensemble",
        "fast AT",
        "generated data",
        "hypersphere embedding",
        "learned attack",
        "margin",
        "neural ODE",
        "optimisation",
        "post-processing",
        "pre-training",
        "pruning",
        "reweighting",
        "self-adaptive training",
        "transformer",
        "unlabeled data",
    }
    for entry in entries():
        assert entry.defense in families, entry.id
        assert entry.curated["source"], entry.id


def test_curated_sources_are_the_papers_that_robustbench_links() -> None:
    for entry in entries():
        source = entry.curated["source"].removeprefix("arXiv:").removeprefix("doi:")
        assert source.rstrip("/") in entry.link, entry.id


def test_names_that_speak_of_extra_or_synthetic_data_agree_with_the_table() -> None:
    for entry in entries():
        if "extra" in entry.id:
            assert entry.settings()["extra_data"] is True, entry.id
        if "ddpm" in entry.id:
            assert entry.settings()["synthetic_data"] is True, entry.id
        if entry.id == "Standard":
            assert (entry.settings()["extra_data"], entry.settings()["synthetic_data"]) == (False, False)


def test_networks_built_on_another_belong_to_its_cluster() -> None:
    clusters = {entry.reference: entry.cluster for entry in entries()}
    assert clusters["robustbench:Linf/Bai2024MixedNUTS"] == "Peng2023Robust"
    assert clusters["robustbench:Linf/Amini2024MeanSparse_S-WRN-94-16"] == "Bartoldson2024Adversarial"
    assert clusters["robustbench:Linf/Wu2020Adversarial_extra"] == "Wu2020Adversarial"


def test_ids_are_unique_though_names_recur_in_both_norms() -> None:
    specs = resolve(["robustbench:*"])
    assert len({spec.id for spec in specs}) == 97
    assert {"Standard", "Standard-L2"} <= {spec.id for spec in specs}


def test_patterns_and_bare_ids() -> None:
    assert len(resolve(["robustbench:Linf/*"])) == 76
    assert [s.reference for s in resolve(["robustbench:Standard"])] == ["robustbench:Linf/Standard"]
    assert [s.reference for s in resolve(["robustbench:L2/Standard"])] == ["robustbench:L2/Standard"]
    assert {s.id for s in resolve(["robustbench:linf/Gowal2021*"])} == {
        "Gowal2021Improving_28_10_ddpm_100m",
        "Gowal2021Improving_70_16_ddpm_100m",
        "Gowal2021Improving_R18_ddpm_100m",
    }


def test_hundred_classes_have_their_own_list() -> None:
    specs = resolve(["robustbench:*"], dataset="cifar100")
    assert len(specs) == 38
    assert {spec.dataset for spec in specs} == {"cifar100"}
    with pytest.raises(BadInputError, match="cifar10 or cifar100 or imagenet"):
        resolve(["robustbench:*"], dataset="svhn")


def test_imagenet_has_its_own_list_and_its_references_say_so() -> None:
    specs = resolve(["robustbench:*"], dataset="imagenet")
    assert len(specs) == 30
    assert {spec.threat_model.text for spec in specs if spec.threat_model} == {"4/255"}
    (spec,) = resolve(["robustbench:imagenet/Linf/Wong2020Fast"], dataset="imagefolder:somewhere")
    assert (spec.reference, spec.dataset) == ("robustbench:imagenet/Linf/Wong2020Fast", "imagenet")
    assert spec.expected_clean_accuracy == 0.5562
    (other,) = resolve(["robustbench:cifar100/Linf/Rice2020Overfitting"])
    assert other.dataset == "cifar100"


def test_cached_weights_are_seen(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("MEASUREBENCH_CACHE", str(tmp_path))
    found = {e.reference: e for e in entries()}
    assert not any(entry.is_cached for entry in found.values())
    folder = weights_folder("cifar10", "Linf")
    folder.mkdir(parents=True)
    (folder / "Wong2020Fast.pt").touch()
    (folder / "Chen2020Adversarial.pt_m0.pt").touch()
    assert {e.id for e in found.values() if e.is_cached} == {"Wong2020Fast", "Chen2020Adversarial"}
