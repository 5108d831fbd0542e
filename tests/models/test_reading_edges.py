"""Edges of reading: what counts as a state dict, what a file is called, and what normalisation computes."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from measurebench.core.errors import BadInputError
from measurebench.core.specs import Normalization
from measurebench.models.formats import LEGACY_MAGIC, recognise
from measurebench.models.manifest import copy_beside, name_beside, read_manifest
from measurebench.models.normalized import normalized, unnormalized
from measurebench.models.references import resolve
from measurebench.models.states import as_state, candidates, describe, fit, is_extra, state_at, wrapper_prefix
from measurebench.models.verify import Finding, check_images, preflight_findings


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "a dictionary with no keys"),
        ({"a": 1, "b": 2}, "a dictionary with 'a', 'b'"),
        (dict.fromkeys("abcdefgh"), "a dictionary with 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'"),
        (dict.fromkeys("abcdefghi"), "a dictionary with 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', ..."),
        ((1, 2, 3), "a list of 3"),
        (torch.zeros(2, 5), "one tensor of shape [2, 5]"),
        (7, "int '7'"),
        ("x" * 50, f"str '{'x' * 40}'"),
    ],
)
def test_content_is_described_in_a_few_words(content: Any, words: str) -> None:
    assert describe(content) == words


def test_numbers_are_weights_only_under_dotted_names_and_beside_a_tensor_with_axes() -> None:
    state = as_state({"a.weight": torch.ones(2), "a.count": 3, "_metadata": {}, "a._extra_state": None})
    assert state is not None
    assert sorted(state) == ["a.count", "a.weight"]
    assert int(state["a.count"]) == 3
    assert as_state({"a.weight": torch.ones(2), "epoch": 3}) is None
    assert as_state({"a.count": 3, "a.scale": torch.tensor(1.0)}) is None
    assert as_state({0: torch.ones(2)}) is None


def test_candidates_come_with_their_paths_and_not_from_below_four_levels() -> None:
    weights = {"w": torch.ones(2)}
    content = {"ema": [weights, nn.Linear(2, 1)], "loss_history": weights, "best": {"model": weights}}
    assert [place for place, _ in candidates(content)] == [("ema", 0), ("ema", 1), ("best", "model")]
    assert [place for place, _ in candidates([[[[weights]]]])] == [(0, 0, 0, 0)]
    assert list(candidates([[[[[weights]]]]])) == []


def test_place_of_weights_may_be_the_top_or_a_module_but_not_one_tensor() -> None:
    layer = nn.Linear(2, 1)
    assert set(state_at({"a": layer}, ("a",), "x")) == {"weight", "bias"}
    assert set(state_at(dict(layer.state_dict()), (), "x")) == {"weight", "bias"}
    with pytest.raises(BadInputError, match=r"a state dict at \['w'\], got one tensor of shape \[2\]"):
        state_at({"w": torch.ones(2)}, ("w",), "x")


def test_prefix_is_empty_where_the_names_fit_as_they_are_or_there_are_none() -> None:
    weights = {key: torch.ones(1) for key in ("fc.weight", "module.fc.weight", "mu")}
    assert wrapper_prefix(["fc.weight"], weights) == ""
    assert wrapper_prefix([], weights) == ""
    assert wrapper_prefix(["weight"], {"net.fc.weight": torch.ones(1)}) == "net.fc."


def test_names_of_extras_are_compared_whole_but_for_an_underscore() -> None:
    assert [is_extra(key) for key in ("mu", "0._mean", "n_averaged", "bn.running_mean", "mean.weight")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_transposed_weights_are_called_transposed() -> None:
    with pytest.raises(BadInputError, match=r"weight \[2, 3\] where the network has \[3, 2\].*look transposed"):
        fit(nn.Linear(2, 3), {"weight": torch.ones(2, 3), "bias": torch.ones(3)}, "x")


def test_missing_counters_are_counted_and_extras_set_aside_under_their_full_names() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    weights = {f"module.{k}": v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    fitted = fit(network, weights | {"module.mean": torch.tensor([0.5])}, "x")
    assert (fitted.prefix, fitted.counters_missing, list(fitted.extras)) == ("module.", 1, ["module.mean"])
    assert list(fitted.state) == list(network.state_dict())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"\x1f\x8b\x08rest", "a gzip archive; unpack it first"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<!DOCTYPE html><p>", r"a web page \(HTML\)"),
        (b"just words", "text beginning 'just words'"),
        (b"\x80\x04K\x01.", "a pickle that torch.save did not write"),
        (b"\x00" * 257 + b"ustar", "a tar archive"),
        (b"\xff" * 8 + b"{}", "header claims 18,446,744,073,709,551,615 bytes"),
        (b"\xfe\x01\x02", "bytes beginning fe 01 02"),
        (b"PK\x03\x04cut", "the start of one without its end"),
    ],
)
def test_file_that_is_no_checkpoint_is_named_for_what_it_is(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=words):
        recognise(path)


def test_archives_of_weights_programs_and_pictures_are_told_apart(tmp_path: Path) -> None:
    def zipped(*names: str) -> Path:
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
            for name in names:
                archive.writestr(name, b"x")
        return tmp_path / "a.pt"

    assert recognise(zipped("net/data.pkl", "net/data/0")).prefix == "net/data.pkl"
    with pytest.raises(BadInputError, match="a TorchScript program"):
        recognise(zipped("net/data.pkl", "net/constants.pkl"))
    with pytest.raises(BadInputError, match=r"a zip archive holding cat\.png"):
        recognise(zipped("cat.png"))
    (tmp_path / "old").write_bytes(b"\x80\x02" + LEGACY_MAGIC)
    assert recognise(tmp_path / "old").name == "torch-legacy"


def test_normalised_images_and_gradients_follow_the_closed_form() -> None:
    mean, std = (0.25, 0.5, 0.75), (0.5, 0.25, 0.125)  # powers of two, so that the answer is exact
    network = normalized(nn.Identity(), Normalization(mean, std))
    images = (torch.arange(48).reshape(1, 3, 4, 4) / 64).requires_grad_(True)
    out: Tensor = network(images)
    for channel in range(3):
        assert torch.equal(out[0, channel], (images[0, channel] - mean[channel]) / std[channel])
    (gradient,) = torch.autograd.grad(out.sum(), images)
    assert gradient.amax((0, 2, 3)).tolist() == [2.0, 4.0, 8.0]
    assert isinstance(unnormalized(network), nn.Identity)


def test_manifest_of_two_models_keeps_order_and_prefix(tmp_path: Path) -> None:
    (tmp_path / "a.pt").touch()
    entry = "[[model]]\nid = '{}'\nfile = 'a.pt'\narchitecture = 'resnet-18'\n"
    path = tmp_path / "models.toml"
    path.write_text(entry.format("z") + entry.format("b") + "weights = 'ema'\n")
    specs = read_manifest(path, source="mine", prefix="mine:")
    assert [(spec.reference, spec.source, spec.weights) for spec in specs] == [
        ("mine:z", "mine", ()),
        ("mine:b", "mine", ("ema",)),
    ]


def test_architecture_file_is_copied_once_and_never_over_another(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "nets.py").write_text("a = 1\n")
    copy_beside("nets.py:a", tmp_path, tmp_path / "sub")
    copy_beside("nets.py:a", tmp_path, tmp_path / "sub")
    assert (tmp_path / "sub" / "nets.py").read_text() == "a = 1\n"
    assert name_beside("package.nets:a") == "package.nets:a"
    (tmp_path / "nets.py").write_text("a = 2\n")
    with pytest.raises(BadInputError, match="one that differs"):
        copy_beside("nets.py:a", tmp_path, tmp_path / "sub")


def test_folder_of_first_weights_alone_is_no_training_run(tmp_path: Path) -> None:
    (tmp_path / "init.pt").touch()
    with pytest.raises(BadInputError, match="checkpoints, or a manifest"):
        resolve([str(tmp_path)], architecture="resnet-18")
    (tmp_path / "last.pth").touch()
    (spec,) = resolve([str(tmp_path)], architecture="resnet-18", normalization="none", allow_pickle=True)
    assert (spec.id, spec.run, spec.allow_pickle) == (f"{tmp_path.name}-last", tmp_path.name, True)
    assert spec.initial == str((tmp_path / "init.pt").resolve())


def test_finding_reads_as_a_sentence_with_its_cause_only_if_known() -> None:
    assert str(Finding("mode", "eval", "train")) == "mode: expected eval, got train"
    assert str(Finding("mode", "eval", "train", "call eval()")).endswith("got train; call eval()")


def test_infinite_gradient_at_a_square_root_of_zero_is_found() -> None:
    class Root(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).sqrt()

    images = torch.tensor([[0.0, 0.25], [1.0, 0.0]]).view(2, 1, 1, 2)
    (finding,) = preflight_findings(Root().eval(), images, torch.tensor([0, 1]), 2)
    assert (finding.subject, finding.got) == ("input gradient", "NaN or infinity")


def test_black_and_white_images_and_the_last_class_are_allowed() -> None:
    check_images(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.tensor([0, 9]), 10)
