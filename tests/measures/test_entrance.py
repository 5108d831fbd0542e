from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench import measure
from measurebench.core.errors import BadInputError

IMAGES = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 10
IDS = ["average_ce", "path_norm", "average_flat_pgd", "pgd_accuracy", "w_grad_norm"]


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 10))


class _Answering(nn.Module):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.body, self.answer = _network(), answer

    def forward(self, images: Tensor) -> Any:
        return self.answer(self.body(images))


class _Output(dict[str, Any]):
    """Like the outputs of transformers: a dictionary whose entries are attributes too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@pytest.mark.parametrize(
    "answer",
    [
        lambda logits: {"logits": logits, "features": logits[:, :2]},
        lambda logits: SimpleNamespace(logits=logits),
        lambda logits: _Output(logits=logits, loss=None),
    ],
)
def test_the_logits_of_an_output_that_names_them_are_taken(answer: Any) -> None:
    found, expected = (measure(n, IMAGES, LABELS, IDS) for n in (_Answering(answer), _network()))
    assert {k: v.value for k, v in found.items()} == {k: v.value for k, v in expected.items()}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: (x, x[:, :3]), r"got tuple of \(2, 10\), \(2, 3\); which of them are the logits\?"),
        (lambda x: [x], r"got list of \(2, 10\); which"),
        (lambda x: {"out": x}, "got dict with 'out'; which"),
        (lambda _: None, "got NoneType"),
        (lambda x: x[:, :, None], r"logits of shape \(2, classes\) for 2 images, got \(2, 10, 1\)"),
        (lambda x: x.flatten(), r"got \(20,\)"),
        (lambda x: x.argmax(1, keepdim=True), "floating-point type, got torch.int64"),
        (lambda x: x.reshape(3, -1), "expected logits for images .* got RuntimeError"),
        (lambda x: F.dropout(x, 0.5), "the same logits in two passes, got logits that differ by .* dropout"),
        (lambda x: x + torch.randn_like(x), "the same logits in two passes"),
    ],
)
def test_an_answer_that_is_not_logits_is_named(answer: Any, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        measure(_Answering(answer), IMAGES, LABELS, "average_ce")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS - 1, "labels: expected classes from 0, got -1"),
        (LABELS + 1, "labels: expected classes 0 to 9, got 10"),
        (LABELS[None], r"labels: expected shape \(20,\), got \(1, 20\); labels.flatten\(\)"),
        (LABELS.tolist(), "labels: expected a torch.Tensor, got list"),
        (LABELS.float(), "labels: expected torch.int64, got torch.float32"),
        (LABELS.bool(), "labels: expected torch.int64, got torch.bool"),
        (LABELS.numpy().astype(str), "labels: expected a torch.Tensor, got ndarray"),
        (torch.tensor(3), r"labels: expected shape \(20,\), got \(\)"),
    ],
)
def test_labels_that_cannot_be_are_named(labels: Any, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        measure(_network(), IMAGES, labels, "average_ce")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda images: images.flatten(1), "network: expected a torch.nn.Module, got function"),
        (SimpleNamespace(network=nn.Flatten()), r"got SimpleNamespace; load_model\(...\).network"),
        (nn.Linear(3, 3), "network: expected logits for images .* got RuntimeError: .*mat1 and mat2"),
    ],
)
def test_a_network_that_cannot_be_measured_is_named(network: Any, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        measure(network, IMAGES, LABELS, "average_ce")


@pytest.mark.parametrize(
    ("ids", "passes", "of_initial"),
    [
        (["num_params", "log_prod_of_fro", "log_prod_of_spec", "euclid_init_norm"], [], []),
        (["log_prod_of_fro_bn_folded"], [1], []),
        (["average_ce"], [2, 2], []),
        (["pacbayes_init"], [2, 2], [1]),
    ],
)
def test_checks_cost_as_few_passes_as_the_measures_allow(
    ids: list[str], passes: list[int], of_initial: list[int]
) -> None:
    seen: dict[str, list[int]] = {"network": [], "initial": []}
    network, initial = _network(), _network()
    for each, found in zip((network, initial), seen.values(), strict=True):
        each.register_forward_hook(lambda _module, _inputs, logits, found=found: found.append(len(logits)))
    measure(network, IMAGES, LABELS, ids, initial_network=initial)
    assert seen["network"][: len(passes)] == passes
    assert seen["initial"][: len(of_initial)] == of_initial
    assert bool(seen["network"]) is bool(passes)
    assert bool(seen["initial"]) is bool(of_initial)


@pytest.mark.parametrize("labels", [LABELS[:, None], LABELS.int(), LABELS.to(torch.uint8), LABELS.numpy()])
def test_labels_of_any_whole_number_type_are_the_same_labels(labels: Any) -> None:
    plain, found = (measure(_network(), IMAGES, given, IDS) for given in (LABELS, labels))
    assert {k: v.value for k, v in found.items()} == {k: v.value for k, v in plain.items()}


def test_images_may_be_an_array_of_numpy() -> None:
    plain, found = (measure(_network(), images, LABELS, IDS) for images in (IMAGES, IMAGES.numpy()))
    assert {k: v.value for k, v in found.items()} == {k: v.value for k, v in plain.items()}


@pytest.mark.parametrize("images", [IMAGES[:, :, :0], IMAGES[0, 0, 0, 0], IMAGES.tolist(), IMAGES * torch.nan])
def test_images_that_cannot_be_are_named(images: Any) -> None:
    with pytest.raises(BadInputError, match="images: expected"):
        measure(_network(), images, LABELS, "average_ce")


@pytest.mark.parametrize("moved", [-3e-8, 3e-8])
def test_what_rounding_left_outside_the_box_is_clamped(moved: float) -> None:
    images = IMAGES.round().double() + moved
    assert float(images.min()) < 0 or float(images.max()) > 1
    found, expected = (measure(_network(), x, LABELS, IDS) for x in (images, images.clamp(0, 1)))
    assert {k: v.value for k, v in found.items()} == {k: v.value for k, v in expected.items()}
    assert found["pgd_accuracy"].diagnostics["n_violations"] == 0


class _NaNWhereBlank(nn.Module):
    """Divides by each image's deviation, as instance normalisation does: 0 / 0 for a blank image."""

    def __init__(self) -> None:
        super().__init__()
        self.body = _network()

    def forward(self, images: Tensor) -> Tensor:
        centred = images - images.mean((2, 3), keepdim=True)
        out: Tensor = self.body(centred / centred.std((2, 3), keepdim=True))
        return out


def _with_blank_images() -> tuple[Tensor, Tensor]:
    images = IMAGES.clone()
    images[[4, 9, 15]] = 0.0
    return images, torch.zeros_like(LABELS)  # NaN rows have their "largest" entry at class 0, which must not count


def test_outputs_that_are_nan_are_wrong_counted_and_no_numbers_for_measures() -> None:
    images, labels = _with_blank_images()
    ids = ["clean_accuracy", "margin_p50", "margin_max", "average_ce", "ece", "entropy", "margin_consistency"]
    ids += ["boundary_thickness", "local_lip", "x_grad_norm", "w_grad_norm", "average_flat", "euclid_norm"]
    found = measure(_NaNWhereBlank(), images, labels, ids)
    with torch.no_grad():
        rest = torch.ones(20, dtype=torch.bool)
        rest[[4, 9, 15]] = False
        correct = int((_NaNWhereBlank()(images[rest]).argmax(1) == 0).sum())
    assert found["clean_accuracy"].value == correct / 20
    assert found["clean_accuracy"].diagnostics["n_nan_outputs"] == 3
    reasons = {name: value.reason for name, value in found.items() if name not in ("clean_accuracy", "euclid_norm")}
    assert set(reasons.values()) == {"the network's output is NaN for 3 of 20 clean images"}
    assert found["euclid_norm"].status == "measured"


def test_gradients_that_are_not_finite_leave_no_norm_and_the_reason_says_so() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = _network()

        def forward(self, images: Tensor) -> Tensor:
            out: Tensor = self.body(images.sqrt().square())
            return out

    images = IMAGES.clone()
    images[[1, 2], 0, 0, 0] = 0.0  # the root has an infinite slope at black
    found = measure(Root(), images, LABELS, ["x_grad_norm", "pgd_accuracy", "average_ce"])
    assert found["x_grad_norm"].reason == "the loss has a gradient that is not finite at 2 of 20 clean images"
    assert found["average_ce"].status == "measured"
    share = found["pgd_accuracy"].diagnostics["share_nonfinite_gradients"]
    assert isinstance(share, float)
    assert 0 < share <= 1
    twin = measure(_network(), images, LABELS, ["pgd_accuracy"])["pgd_accuracy"].value
    assert found["pgd_accuracy"].value == pytest.approx(twin, abs=0.1)
