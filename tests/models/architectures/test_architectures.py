"""Built-in architectures have the published numbers of parameters and the names that people's files use."""

import pytest
import torch

from measurebench.core.errors import BadInputError
from measurebench.models.architectures import built_in, find

# Parameters for ten classes and 32x32 images: ResNets and PreActResNets as RobustBench's own networks count them
# (Sehwag2021Proxy_R18 11,173,962; Wong2020Fast 11,171,146; Rice2020Overfitting-L2 11,172,170), WRN-28-10 36.5 million,
# WRN-34-10 46.2 million, WRN-70-16 266.8 million (Zagoruyko and Komodakis 2016; Gowal et al. 2020).
COUNTS = {
    "resnet-18": 11_173_962,
    "preactresnet-18": 11_171_146,
    "preactresnet-18-bn": 11_172_170,
    "wrn-28-10": 36_479_194,
    "wrn-34-10": 46_160_474,
    "wrn-34-20": 184_531_674,
    "wrn-70-16": 266_796_506,
}
SMALL = ("resnet-18", "preactresnet-18-bn", "wrn-16-4", "vgg-11", "densenet-121", "cnn-small", "cnn-oval", "cnn-mnist")


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_number_of_parameters_is_the_published_one(name: str) -> None:
    with torch.device("meta"):
        network = built_in()[name].build()
    assert sum(parameter.numel() for parameter in network.parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", SMALL)
def test_network_maps_its_images_to_logits_of_its_classes(name: str) -> None:
    item = built_in()[name]
    network = item.build(n_classes=7, in_channels=item.image_shape[0]).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, *item.image_shape)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("resnet-18", ["conv1.weight", "layer2.0.shortcut.1.running_mean", "linear.bias"]),
        ("resnet-50-torchvision", ["layer1.0.downsample.0.weight", "layer4.2.conv3.weight", "fc.weight"]),
        ("preactresnet-18-bn", ["layer2.0.shortcut.0.weight", "bn.weight", "linear.weight"]),
        ("wrn-28-10", ["block1.layer.0.convShortcut.weight", "block3.layer.3.bn2.bias", "bn1.weight", "fc.weight"]),
        ("vgg-16", ["features.0.weight", "features.1.running_var", "classifier.weight"]),
        ("densenet-121", ["dense1.0.conv2.weight", "trans3.conv.weight", "linear.weight"]),
        ("cnn-mnist", ["feature_extractor.conv1.weight", "classifier.fc3.bias"]),
    ],
)
def test_keys_are_the_usual_ones(name: str, keys: list[str]) -> None:
    with torch.device("meta"):
        state = built_in()[name].build(in_channels=built_in()[name].image_shape[0]).state_dict()
    assert [key for key in keys if key not in state] == []


@pytest.mark.parametrize("spelling", ["WRN-28-10", "wrn_28_10", "WideResNet-28-10", "wrn28-10"])
def test_spelling_of_a_name_does_not_matter(spelling: str) -> None:
    item = find(spelling)
    assert item is not None
    assert item.name == "wrn-28-10"


def test_any_depth_and_width_of_wide_resnet_builds() -> None:
    item = find("wrn-10-1")
    assert item is not None
    assert item.build(n_classes=3)(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    impossible = find("wrn-29-10")
    assert impossible is not None
    with pytest.raises(BadInputError, match="6n \\+ 4"):
        impossible.build()


def test_unknown_name_is_not_found() -> None:
    assert find("transformer-9000") is None
