"""Networks not counted elsewhere have the known sizes, and treat each image of a batch alone."""

import pytest
import torch

from measurebench.core.errors import BadInputError, ModelError
from measurebench.core.specs import ModelSpec
from measurebench.models.architectures import build, built_in, find
from measurebench.models.listing import list_models

# As counted by the public PyTorch code for 32x32 images and ten classes that people's checkpoints come from.
COUNTS = {
    "resnet-20": 269_722,
    "resnet-56": 853_018,
    "resnet-34": 21_282_122,
    "resnet-50": 23_520_842,
    "densenet-121": 6_956_298,
    "vgg-11": 9_231_114,
    "vgg-13": 9_416_010,
    "vgg-16": 14_728_266,
    "vgg-19": 20_040_522,
    "wrn-16-4": 2_748_890,
    "wrn-40-2": 2_243_546,
}
FEATURES = {"resnet-18": 512, "resnet-50": 2048, "densenet-121": 1024, "vgg-16": 512, "wrn-28-10": 640}
LIGHT = (
    "digits-plain",
    "digits-resnet",
    "digits-preact",
    "cnn-small",
    "cnn-oval",
    "cnn-mnist",
    "wrn-16-4",
    "vgg-11",
    "resnet-8",
    "resnet-8-stride2",
)


def size(name: str, **kwargs: int) -> int:
    item = find(name)
    assert item is not None
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in item.build(**kwargs).parameters())


def spec(architecture: str | None, **kwargs: object) -> ModelSpec:
    return ModelSpec("m", "local", "m.pt", reference="m.pt", architecture=architecture, architecture_kwargs=kwargs)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_size_is_that_of_the_public_code(name: str) -> None:
    assert size(name) == COUNTS[name]


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_ninety_more_classes_add_ninety_rows_to_the_last_layer_alone(name: str) -> None:
    assert size(name, n_classes=100) - size(name, n_classes=10) == 90 * (FEATURES[name] + 1)


@pytest.mark.parametrize(("name", "width"), [("resnet-18", 64), ("vgg-16", 64), ("wrn-28-10", 16)])
def test_grey_images_take_two_thirds_of_the_first_layer_away(name: str, width: int) -> None:
    assert size(name, in_channels=3) - size(name, in_channels=1) == 2 * 9 * width


def test_naming_of_torchvision_renames_weights_and_adds_none() -> None:
    for depth in (18, 34, 50):
        assert size(f"resnet-{depth}-torchvision") == size(f"resnet-{depth}")


def test_final_batch_norm_of_preactivation_adds_a_scale_and_a_shift_for_each_channel() -> None:
    for depth in (18, 34):
        assert size(f"preactresnet-{depth}-bn") - size(f"preactresnet-{depth}") == 2 * 512


@pytest.mark.parametrize("name", LIGHT)
def test_permuted_images_have_permuted_logits(name: str) -> None:
    torch.manual_seed(0)
    item = built_in()[name]
    network = item.build(n_classes=10, in_channels=item.image_shape[0]).eval()
    images, order = torch.rand(4, *item.image_shape), torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        logits, permuted = network(images), network(images[order])
    assert not torch.allclose(logits[0], logits[1], atol=1e-6)
    assert torch.allclose(permuted, logits[order], atol=1e-5)


def test_listing_counts_the_same_parameters_and_names_every_built_in_architecture() -> None:
    rows = {row["architecture"]: row for row in list_models("architectures")}
    assert set(built_in()) <= set(rows)
    assert rows["vgg-16"]["n_parameters"] == COUNTS["vgg-16"]
    assert rows["cnn-mnist"]["image_shape"] == "1x28x28"
    assert rows["resnet-18"]["origin"] == "measurebench"


def test_arguments_of_the_specification_count_above_those_of_the_data() -> None:
    network = build(spec("digits-plain", n_classes=3), n_classes=10, in_channels=1).eval()
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_builder_is_told_which_architecture_was_missing_misspelt_or_called_wrongly() -> None:
    with pytest.raises(BadInputError, match=r"m\.pt: expected an architecture, got none"):
        build(spec(None))
    with pytest.raises(BadInputError, match="resnet-18"):
        build(spec("resnet-19"))
    with pytest.raises(ModelError, match=r"'digits-plain'.*depth=4.*got TypeError"):
        build(spec("digits-plain", depth=4))
    with pytest.raises(ModelError, match=r"expected a torch.nn.Module, got dict"):
        build(spec("builtins:dict", a=1))
