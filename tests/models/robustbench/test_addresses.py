"""Where files come from, with and without a mirror, and the parts of ensembles that they fill."""

import pytest

from measurebench.models.robustbench import addresses
from measurebench.models.robustbench.addresses import parts_of

TABLE = {
    "One": {"gdrive_id": "abc"},
    "Chen2020Adversarial": {"gdrive_id": ["a", "b"]},
    "Bai2023Improving_edm": {"gdrive_id": ["a", "b", "c"]},
    "Bai2024MixedNUTS": {"gdrive_id": ["a", "b"]},
    "XCiT": {"gdrive_id": None},
}


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(addresses, "model_entries", lambda *_: TABLE)
    monkeypatch.setattr(addresses, "timm_address", lambda *_: "https://example.org/x.pth.tar")
    monkeypatch.setenv("MEASUREBENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("MEASUREBENCH_MIRROR", raising=False)


def test_address_for_the_program_and_page_for_a_person() -> None:
    (part,) = parts_of("cifar10", "Linf", "One")
    assert part.remote.address == "https://drive.usercontent.google.com/download?id=abc&export=download&confirm=t"
    assert part.remote.page == "https://drive.google.com/file/d/abc/view"
    assert part.path.parts[-4:] == ("robustbench", "cifar10", "Linf", "One.pt")


def test_mirror_replaces_the_address_and_keeps_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEASUREBENCH_MIRROR", "http://mirror/zoo/")
    (part,) = parts_of("cifar10", "L2", "One")
    assert part.remote.address == "http://mirror/zoo/cifar10/L2/One.pt"
    assert part.remote.page == "https://drive.google.com/file/d/abc/view"


def test_files_of_an_ensemble_fill_their_parts() -> None:
    places = {name: [part.attribute for part in parts_of("cifar10", "Linf", name)] for name in TABLE}
    assert places["Chen2020Adversarial"] == ["models.0", "models.1"]
    assert places["Bai2023Improving_edm"] == ["comp_model.models.0", "comp_model.models.1", ""]
    assert places["Bai2024MixedNUTS"] == ["std_model", "rob_model"]
    mixing = parts_of("cifar10", "Linf", "Bai2023Improving_edm")[2]
    assert mixing.keys == {"comp_model.policy_net": "model", "comp_model.bn": "bn"}


def test_timm_entry_has_the_address_of_its_registration() -> None:
    (part,) = parts_of("cifar10", "Linf", "XCiT")
    assert part.remote.address == "https://example.org/x.pth.tar"
