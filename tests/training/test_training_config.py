"""Training settings: checked at the door, in words."""

import pytest
import torch

from measurebench.core.errors import BadInputError
from measurebench.training.awp import GlobalAWP, LayerwiseAWP
from measurebench.training.sam import ASAM, SAM
from measurebench.training.training_config import TrainingConfig, recipe


def _config(**settings) -> TrainingConfig:
    return TrainingConfig.from_mapping(recipe("digits") | {"defense": "AT"} | settings, "grid.toml")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, r"grid.toml: epoch: expected a training setting, got an unknown name; did you mean 'epochs'"),
        ({"epochs": "3"}, r"epochs: expected a whole number, got '3'"),
        ({"epochs": True}, r"epochs: expected a whole number, got True"),
        ({"epochs": 0}, r"epochs: expected a number of at least 1, got 0"),
        ({"steps": 0}, r"steps: expected a number of at least 1"),
        ({"defense": "trades"}, r"defense: expected Standard, AT, TRADES, MART, got 'trades'"),
        ({"optimizer": "Adam"}, r"optimizer: expected SGD, AWP, SAM, ASAM, got 'Adam'"),
        ({"radius": "8"}, r"did you mean 8/255"),
        ({"learning_rate": 0.0}, r"learning_rate: expected a number above 0"),
        ({"milestones": [100, 150]}, r"milestones: expected shares of the epochs"),
        ({"normalization": "cifar"}, r"normalization: expected none, cifar10, imagenet"),
        ({"batch_size": 1}, r"batch_size: expected a number of at least 2"),
        ({"augmentation": 1}, r"augmentation: expected true or false, got 1"),
        ({"architecture_kwargs": 3}, r"architecture_kwargs: expected a table"),
        ({"learning_rate": float("inf")}, r"learning_rate: expected a number above 0, got inf"),
        ({"learning_rate": float("nan")}, r"learning_rate: expected a number above 0, got nan"),
        ({"clip_norm": -1.0}, r"clip_norm: expected a number of at least 0, got -1.0"),
        ({"clip_norm": float("inf")}, r"clip_norm: expected a number of at least 0, got inf"),
        ({"step_fraction": -1.0}, r"step_fraction: expected a number of at least 0"),
        ({"weight_decay": -1e-4}, r"weight_decay: expected a number of at least 0"),
        ({"momentum": 1.5}, r"momentum: expected a number from 0 to 1, got 1.5"),
        ({"extra_fraction": 7}, r"extra_fraction: expected a number from 0 to 1, got 7.0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_words(settings, message) -> None:
    with pytest.raises(BadInputError, match=message):
        _config(**settings)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(BadInputError, match="defense: expected a value, got none"):
        TrainingConfig.from_mapping(recipe("digits"), "grid.toml")


def test_standard_training_has_no_steps() -> None:
    assert _config(defense="Standard", steps=10).steps == 0


def test_one_step_is_longer_than_each_of_many() -> None:
    assert _config(steps=1).attack.step_fraction == 1.25
    assert _config(steps=10).attack.step_fraction == 0.25
    assert _config(steps=10, step_fraction=0.5).attack.step_fraction == 0.5


def test_each_objective_starts_as_published_unless_told_otherwise() -> None:
    assert _config().attack.start == "uniform"
    assert _config(defense="TRADES", beta=6.0).attack.start == "gaussian"
    assert _config(defense="TRADES", beta=6.0, random_start="uniform").attack.start == "uniform"


def test_awp_is_per_layer_or_global() -> None:
    assert _config().weight_perturbation is None
    assert _config(optimizer="AWP", awp_size=0.01).weight_perturbation == LayerwiseAWP(0.01)
    assert _config(optimizer="AWP", awp="global").weight_perturbation == GlobalAWP(0.005)


def test_the_rate_falls_tenfold_at_half_and_three_quarters() -> None:
    config = _config(epochs=8, learning_rate=0.1)
    rates = [config.rate(epoch) for epoch in range(8)]
    assert rates == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2)


def test_cosine_falls_smoothly_and_constant_not_at_all() -> None:
    cosine = _config(epochs=4, schedule="cosine", learning_rate=1.0)
    assert [cosine.rate(epoch) for epoch in range(4)] == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert {_config(epochs=4, schedule="constant", learning_rate=1.0).rate(epoch) for epoch in range(4)} == {1.0}


def test_a_cyclic_rate_climbs_from_zero_and_falls_back_batch_by_batch() -> None:
    """CyclicLR(base_lr=0, max_lr=1) of torch with as many steps up as down, 4 epochs of 2 batches."""
    config = _config(epochs=4, schedule="cyclic", learning_rate=1.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, step_size_up=4, cycle_momentum=False)
    for batch in range(8):
        assert config.rate(batch / 2) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_other_schedules_change_between_epochs_alone() -> None:
    for schedule in ("steps", "cosine", "constant"):
        config = _config(epochs=8, schedule=schedule)
        assert config.rate(5.75) == config.rate(5)


def test_sam_and_asam_have_their_usual_sizes_unless_told() -> None:
    assert _config(optimizer="SAM").weight_perturbation == SAM(0.05)
    assert _config(optimizer="ASAM").weight_perturbation == ASAM(0.5)
    assert _config(optimizer="ASAM", rho=0.1).weight_perturbation == ASAM(0.1)


def test_settings_without_rho_have_the_digest_of_versions_that_did_not_know_it() -> None:
    assert "rho" not in _config().to_json()
    assert _config(optimizer="SAM", rho=0.1).digest() != _config(optimizer="SAM").digest()


def test_the_radius_grows_over_its_warmup() -> None:
    config = _config(radius_warmup=3)
    assert [config.radius_share(epoch) for epoch in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert _config().radius_share(0) == 1.0


def test_settings_survive_the_way_through_json() -> None:
    import json

    config = _config(optimizer="AWP", architecture_kwargs={"width": 8})
    again = TrainingConfig.from_mapping(json.loads(json.dumps(config.to_json())), "run.json")
    assert again == config
    assert again.digest() == config.digest() != _config().digest()
