"""RobustBench's models from files to networks: every key accounted for, odd entries by their own entry."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from measurebench.core.download import DownloadError, Patience, Remote
from measurebench.core.errors import BadInputError, DamageWarning, MeasurebenchError
from measurebench.models import load_model, resolve
from measurebench.models.identity import model_digest
from measurebench.models.robustbench import loading
from measurebench.models.robustbench.addresses import Part
from measurebench.models.robustbench.loading import load_zoo_model
from measurebench.models.robustbench.zoo import weights_folder
from tests.models.checkpoints import network, prefixed, saved, state

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
QUICK = Patience(stall_seconds=2.0, attempts=1)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served over HTTP as the mirror, and an empty cache."""
    folder = tmp_path / "mirror"
    (folder / "cifar10" / "Linf").mkdir(parents=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setenv("MEASUREBENCH_MIRROR", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("MEASUREBENCH_CACHE", str(tmp_path / "cache"))
    yield folder / "cifar10" / "Linf"
    server.shutdown()
    server.server_close()
    thread.join()


def spec_of(name: str):  # type: ignore[no-untyped-def]
    return resolve([f"robustbench:Linf/{name}"])[0]


def stand_in(monkeypatch: pytest.MonkeyPatch, net: nn.Module, n_files: int = 0) -> None:
    """Put a small network in place of robustbench's, with one file or several."""

    def parts(dataset: str, threat: str, name: str) -> list[Part]:
        import os

        folder = weights_folder(dataset, threat)
        files = [f"{name}.pt_m{i}.pt" for i in range(n_files)] or [f"{name}.pt"]
        base = os.environ["MEASUREBENCH_MIRROR"] + "cifar10/Linf/"
        return [
            Part(name, folder / file, Remote(base + file, "https://example.org"), f"models.{i}" if n_files else "")
            for i, file in enumerate(files)
        ]

    monkeypatch.setattr(loading, "construct", lambda *_: net)
    monkeypatch.setattr(loading, "parts_of", parts)


def test_weights_are_downloaded_checked_and_loaded_strictly(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, network(seed=7))
    (mirror / "Wong2020Fast.pt").write_bytes(saved({"state_dict": prefixed("module.")}))
    model = load_zoo_model(spec_of("Wong2020Fast"), patience=QUICK)
    with torch.no_grad():
        assert torch.allclose(model.network(IMAGES), network().eval()(IMAGES), atol=1e-6)
    assert model.spec.expected_clean_accuracy == 0.8334
    assert model_digest(spec_of("Wong2020Fast")) == model.digest
    (mirror / "Wong2020Fast.pt").unlink()
    assert load_model(spec_of("Wong2020Fast"), offline=True).digest == model.digest


def test_file_that_changed_since_its_first_use_is_fetched_again(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, network())
    (mirror / "Wong2020Fast.pt").write_bytes(saved(state()))
    before = load_zoo_model(spec_of("Wong2020Fast")).digest
    (weights_folder("cifar10", "Linf") / "Wong2020Fast.pt").write_bytes(saved(state(seed=1)))
    with pytest.raises(DownloadError, match="not as it was fetched, and the network is not to be used"):
        load_zoo_model(spec_of("Wong2020Fast"), offline=True)
    with pytest.warns(DamageWarning, match="it is fetched again"):
        assert load_zoo_model(spec_of("Wong2020Fast")).digest == before


def test_file_put_there_by_hand_is_used_and_its_hash_noted(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, network())
    folder = weights_folder("cifar10", "Linf")
    folder.mkdir(parents=True)
    (folder / "Wong2020Fast.pt").write_bytes(saved(state()))
    load_zoo_model(spec_of("Wong2020Fast"), offline=True)
    assert (folder / "Wong2020Fast.pt.sha256").is_file()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"<!DOCTYPE html><html>Quota exceeded", "a web page"),
        (saved(state())[:2000], "cut short"),
        (b"PK\x03\x04" + b"x" * 100, "cut short"),
        (b"\x1f\x8b\x08rest", "gzip archive"),
        (b"", "empty file"),
    ],
)
def test_download_that_is_no_checkpoint_is_said_so_and_not_kept(
    content: bytes, word: str, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, network())
    (mirror / "Wong2020Fast.pt").write_bytes(content)
    with pytest.raises(DownloadError, match=word) as caught:
        load_zoo_model(spec_of("Wong2020Fast"), patience=QUICK)
    target = weights_folder("cifar10", "Linf") / "Wong2020Fast.pt"
    assert f"save the file as {target}" in str(caught.value)
    assert not target.exists()


def test_weights_of_another_network_are_refused_with_both_sides(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, network())
    (mirror / "Wong2020Fast.pt").write_bytes(saved(nn.Linear(3, 2).state_dict()))
    with pytest.raises(BadInputError, match="the file lacks.*the network lacks"):
        load_zoo_model(spec_of("Wong2020Fast"))


def test_normalisation_that_only_the_code_holds_may_be_missing_from_the_file(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network()
    net.register_buffer("mu", torch.full((1, 3, 1, 1), 0.5))
    stand_in(monkeypatch, net)
    (mirror / "Wong2020Fast.pt").write_bytes(saved(prefixed("module.")))
    model = load_zoo_model(spec_of("Wong2020Fast"))
    assert float(model.network.get_buffer("mu").max()) == 0.5


def test_stage_that_no_image_passes_is_left_out(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    net.sub_block1 = nn.Linear(2, 3)
    stand_in(monkeypatch, net)
    (mirror / "Carmon2019Unlabeled.pt").write_bytes(saved(dict(net.state_dict())))
    model = load_zoo_model(spec_of("Carmon2019Unlabeled"))
    assert model.n_parameters == sum(p.numel() for p in network().parameters())
    assert "sub_block1 left out: 9 parameters that no image passes" in model.notes


def test_ensemble_is_filled_file_by_file_and_its_probabilities_become_logits(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ensemble(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.models = nn.ModuleList([network(seed=8), network(seed=9)])

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.stack([model(images).softmax(1) for model in self.models]).mean(0)

    stand_in(monkeypatch, Ensemble(), n_files=2)
    for i in range(2):
        (mirror / f"Chen2020Adversarial.pt_m{i}.pt").write_bytes(saved({"state_dict": state(seed=i)}))
    model = load_zoo_model(spec_of("Chen2020Adversarial"))
    with torch.no_grad():
        logits = model.network(IMAGES)
        mean = (network(seed=0).eval()(IMAGES).softmax(1) + network(seed=1).eval()(IMAGES).softmax(1)) / 2
    assert torch.allclose(logits.softmax(1), mean, atol=1e-6)
    assert model_digest(spec_of("Chen2020Adversarial")) == model.digest


def test_odd_entry_names_where_its_weights_lie_and_what_is_superfluous(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, network())
    content = {"last": state() | {"model_preact_hl1.1.weight": torch.ones(2)}, "best": state(seed=1)}
    (mirror / "Andriushchenko2020Understanding.pt").write_bytes(saved(content))
    model = load_zoo_model(spec_of("Andriushchenko2020Understanding"))
    assert torch.equal(model.network.get_parameter("fc.bias"), state()["fc.bias"])


def test_real_network_of_robustbench_loads_through_the_mirror(mirror: Path) -> None:
    # The real code path: robustbench imported, its network built, its weights fetched and fitted.
    from measurebench.models.robustbench.package import construct

    net = construct("cifar10", "Linf", "Wong2020Fast").eval()
    weights = {f"module.{k}": v for k, v in net.state_dict().items() if k not in ("mu", "sigma")}
    torch.save(weights, mirror / "Wong2020Fast.pt")
    model = load_model("robustbench:Wong2020Fast")
    with torch.no_grad():
        assert torch.allclose(model.network(IMAGES), net(IMAGES), atol=1e-5)
    assert model.n_parameters == 11_171_146
    with pytest.raises(DownloadError, match=r"404.*drive\.google\.com/file/d/.*Carmon2019Unlabeled\.pt"):
        load_model("robustbench:Carmon2019Unlabeled")


@pytest.mark.parametrize(
    ("name", "preparation"), [("Salman2020Do_R18", "Res256Crop224"), ("Standard_R50", "Res256Crop224")]
)
def test_networks_of_imagenet_load_and_say_how_pictures_are_prepared(mirror: Path, name: str, preparation: str) -> None:
    """With random weights; those of the standard network are torchvision's, which no code may download unasked."""
    from measurebench.models.robustbench.package import construct

    net = construct("imagenet", "Linf", name).eval()
    place = mirror.parents[1] / "imagenet" / "Linf"
    place.mkdir(parents=True)
    weights = net.state_dict() if name != "Standard_R50" else net.model.state_dict()  # type: ignore[union-attr,operator]
    torch.save({key: value for key, value in weights.items() if "normalize" not in key}, place / f"{name}.pt")
    model = load_model(f"robustbench:imagenet/Linf/{name}")
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.allclose(model.network(images), net(images), atol=1e-5)
    assert model.spec.dataset == "imagenet"
    assert any(f"--dataset imagenet:{preparation}" in note for note in model.notes)


@pytest.mark.slow
def test_an_entry_of_imagenet_is_measured_on_pictures_in_a_folder(mirror: Path, tmp_path: Path) -> None:
    import measurebench
    from measurebench.models.robustbench.package import construct
    from tests.datasets.test_imagenet import LISTED, picture

    for seed, listed in enumerate(LISTED):
        for split in ("val", "train"):
            file = tmp_path / "images" / split / listed
            file.parent.mkdir(parents=True)
            picture((260, 300), seed).save(file)
    place = mirror.parents[1] / "imagenet" / "Linf"
    place.mkdir(parents=True)
    torch.save(construct("imagenet", "Linf", "Salman2020Do_R18").state_dict(), place / "Salman2020Do_R18.pt")
    out = tmp_path / "records"
    asked = {"attacks": "pgd", "measures": "num_params,average_ce_pgd", "workers": 1}
    measurebench.run(
        ["robustbench:imagenet/Linf/Salman2020Do_R18"], "imagenet", out, data_dir=tmp_path / "images", **asked
    )
    (row,) = measurebench.join_results(out).to_dict("records")
    assert (row["n_test"], row["radius"]) == (3, 4 / 255)
    assert row["num_params"] == 11_689_512
    assert 0 <= row["pgd_accuracy_test"] <= row["clean_accuracy_test"] <= 1


def test_entry_that_wants_cuda_fails_with_the_reason(mirror: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    from measurebench.models.robustbench.package import construct

    with pytest.raises(MeasurebenchError, match="needs a CUDA device"):
        construct("cifar10", "Linf", "Bai2023Improving_edm")


@pytest.mark.slow
def test_every_entry_constructs_with_the_noted_number_of_parameters() -> None:
    from measurebench.models.robustbench.package import construct
    from measurebench.models.robustbench.zoo import entries

    for entry in entries():
        if entry.n_parameters is not None:
            net = construct("cifar10", entry.threat.norm.value, entry.id)
            assert sum(p.numel() for p in net.parameters()) == entry.n_parameters, entry.id
