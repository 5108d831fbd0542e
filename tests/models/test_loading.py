"""Checkpoints in every usual form load to the same network, or say what must be said about them."""

from pathlib import Path

import pytest
import torch

from measurebench.core.errors import BadInputError, ModelError
from measurebench.core.specs import Normalization
from measurebench.models import load_model
from measurebench.models.identity import model_digest
from tests.models.checkpoints import ARCHITECTURE_FILE, network, prefixed, safetensors_bytes, saved, state

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(ARCHITECTURE_FILE)
    return tmp_path


def load(folder: Path, content: bytes, name: str = "net.pt", **options: object):  # type: ignore[no-untyped-def]
    (folder / name).write_bytes(content)
    options = {"normalization": "none"} | options
    return load_model(str(folder / name), architecture=f"{folder / 'nets.py'}:small", **options)  # type: ignore[arg-type]


def logits(model) -> torch.Tensor:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        return model.network(IMAGES)


EXPECTED = network().eval()(IMAGES).detach()

FORMS = {
    "bare.pt": saved(state()),
    "bare.th": saved(state(), legacy=True),
    "bare.safetensors": safetensors_bytes(),
    "nested.pth": saved({"state_dict": state(), "epoch": 90, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}),
    "net.ckpt": saved({"net": state(), "acc": 93.1}),
    "model_state_dict.pt": saved({"model_state_dict": state(), "loss": torch.tensor(0.1)}),
    "deep.pt": saved({"checkpoint": {"model": {"state_dict": state()}}}),
    "one_stage.pt": saved({"state_dict": [state()]}),
    "data_parallel.pt": saved(prefixed("module.")),
    "compiled.pt": saved(prefixed("_orig_mod.")),
    "compiled_parallel.pt": saved(prefixed("module._orig_mod.")),
    "lightning.ckpt": saved({"state_dict": prefixed("model."), "hyper_parameters": {"lr": 0.1}, "callbacks": {}}),
    "wrapper.model": saved(prefixed("net.encoder.")),
    "no_counters.pt": saved({k: v for k, v in state().items() if not k.endswith("num_batches_tracked")}),
    "double.pt": saved({k: v.double() if v.is_floating_point() else v for k, v in state().items()}),
    "class_count.pt": saved(prefixed("model.") | {"n_classes": torch.tensor(10)}),
}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_usual_form_gives_the_same_network(name: str, folder: Path) -> None:
    model = load(folder, FORMS[name], name)
    assert torch.allclose(logits(model), EXPECTED, atol=1e-6)
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    assert model.notes[0].startswith("format: ")


def test_half_precision_is_loaded_as_float32_and_noted(folder: Path) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in state().items()}
    model = load(folder, saved(half))
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}
    assert torch.allclose(logits(model), EXPECTED, atol=1e-2)
    assert any("float16" in note for note in model.notes)


def test_mair_file_brings_its_own_normalisation(folder: Path) -> None:
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    rmodel = prefixed("model.") | {"n_classes": torch.tensor(10), "mean": mean, "std": std}
    model = load(folder, saved({"rmodel": rmodel, "record_info": "epoch 200"}), normalization=None)
    direct = network().eval()((IMAGES - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    assert torch.allclose(logits(model), direct, atol=1e-5)
    assert model.spec.normalization.mean == pytest.approx((0.4, 0.5, 0.6))


def test_mair_folder_is_one_training_run_with_initial_weights(folder: Path) -> None:
    run = folder / "wrn_at"
    run.mkdir()
    for seed, name in enumerate(("init", "best", "last")):
        extras = {"n_classes": torch.tensor(10), "mean": torch.zeros(3), "std": torch.ones(3)}
        weights = {f"model.{key}": value for key, value in state(seed=seed).items()}
        (run / f"{name}.pth").write_bytes(saved({"rmodel": weights | extras}))
    from measurebench.models import resolve

    specs = resolve([str(run)], architecture=f"{folder / 'nets.py'}:small")
    assert [(spec.id, spec.run) for spec in specs] == [("wrn_at-best", "wrn_at"), ("wrn_at-last", "wrn_at")]
    model = load_model(specs[0])
    assert model.initial is not None
    with torch.no_grad():
        assert torch.allclose(model.initial(IMAGES), network(seed=0).eval()(IMAGES), atol=1e-5)
        assert torch.allclose(model.network(IMAGES), network(seed=1).eval()(IMAGES), atol=1e-5)


def test_normalisation_of_a_lone_checkpoint_is_asked_for(folder: Path) -> None:
    with pytest.raises(BadInputError, match="--normalization"):
        load(folder, saved(state()), normalization=None)


def test_normalisation_inside_equals_normalising_before(folder: Path) -> None:
    normalization = Normalization((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    model = load(folder, saved(state()), normalization=normalization)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (normalization.mean, normalization.std))
    assert torch.allclose(logits(model), network().eval()((IMAGES - mean) / std), atol=1e-5)
    assert not torch.allclose(logits(model), EXPECTED, atol=1e-3)


def test_pickled_module_is_refused_and_then_allowed(folder: Path) -> None:
    (folder / "whole.pt").write_bytes(saved(network()))
    with pytest.raises(BadInputError, match="allow-pickle"):
        load_model(str(folder / "whole.pt"), normalization="none")
    model = load_model(str(folder / "whole.pt"), normalization="none", allow_pickle=True)
    assert torch.allclose(logits(model), EXPECTED, atol=1e-6)


def test_missing_architecture_is_asked_for_with_the_one_that_fits(tmp_path: Path) -> None:
    from measurebench.models.architectures import built_in

    weights = built_in()["cnn-small"].build().state_dict()
    (tmp_path / "x.pt").write_bytes(saved({"net": {f"module.{k}": v for k, v in weights.items()}}))
    with pytest.raises(BadInputError, match=r"--architecture NAME.*'cnn-small' fits"):
        load_model(str(tmp_path / "x.pt"), normalization="none")


def test_misfit_names_the_built_in_that_fits_best_and_where_it_differs(tmp_path: Path) -> None:
    from measurebench.models.architectures import built_in

    weights = built_in()["cnn-small"].build(n_classes=7).state_dict()
    (tmp_path / "x.pt").write_bytes(saved(weights))
    with pytest.raises(BadInputError, match=r"nearest built-in architecture is 'cnn-small'.*7") as caught:
        load_model(str(tmp_path / "x.pt"), architecture="cnn-oval", normalization="none")
    assert "the file lacks" in str(caught.value)


def test_built_in_takes_classes_and_channels_from_the_file(tmp_path: Path) -> None:
    from measurebench.models.architectures import built_in

    weights = built_in()["cnn-small"].build(n_classes=7, in_channels=1).state_dict()
    (tmp_path / "x.pt").write_bytes(saved(weights))
    model = load_model(str(tmp_path / "x.pt"), architecture="CNN_small", normalization="none")
    assert model.network(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["digits-plain", "digits-resnet", "digits-preact"])
def test_channels_are_found_where_pixels_are_unshuffled_first(name: str, channels: int, tmp_path: Path) -> None:
    from measurebench.models import architectures

    torch.manual_seed(0)
    built = architectures.find(name).build(n_classes=7, in_channels=channels).eval()  # type: ignore[union-attr]
    torch.save(built.state_dict(), tmp_path / "net.pt")
    model = load_model(str(tmp_path / "net.pt"), architecture=name, normalization="none")
    images = torch.rand(2, channels, 8, 8)
    with torch.no_grad():
        assert torch.equal(model.network(images), built(images))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_classes_and_channels_are_found_among_names_that_end_alike(prefix: str, tmp_path: Path) -> None:
    # Every block of a residual network has a conv1; only the first of all tells the channels. In any order of keys.
    from measurebench.models.architectures import built_in

    weights = built_in()["wrn-16-4"].build(n_classes=7, in_channels=1).state_dict()
    (tmp_path / "x.pt").write_bytes(saved({prefix + key: weights[key] for key in sorted(weights)}))
    model = load_model(str(tmp_path / "x.pt"), architecture="wrn-16-4", normalization="none")
    assert model.network(torch.zeros(1, 1, 32, 32)).shape == (1, 7)


def test_digest_before_and_after_loading_agree_and_follow_weights_and_code(folder: Path) -> None:
    first = load(folder, saved(state()))
    assert model_digest(first.spec) == first.digest
    assert load(folder, saved(state(seed=1))).digest != first.digest
    (folder / "nets.py").write_text(ARCHITECTURE_FILE + "\n# changed\n")
    assert load(folder, saved(state())).digest != first.digest


def test_architecture_that_fails_or_returns_no_network_is_named(folder: Path) -> None:
    (folder / "x.pt").write_bytes(saved(state()))
    for name, word in (("broken", "KeyError"), ("nothing", "torch.nn.Module")):
        with pytest.raises(ModelError, match=word):
            load_model(str(folder / "x.pt"), architecture=f"{folder / 'nets.py'}:{name}", normalization="none")
    with pytest.raises(BadInputError, match="did you mean 'small'"):
        load_model(str(folder / "x.pt"), architecture=f"{folder / 'nets.py'}:smal", normalization="none")
    with pytest.raises(BadInputError, match="did you mean"):
        load_model(str(folder / "x.pt"), architecture="resnett-18", normalization="none")


def test_parameters_are_counted_without_buffers(folder: Path) -> None:
    assert load(folder, saved(state())).n_parameters == 4 * 27 + 4 + 8 + 2560 + 10
