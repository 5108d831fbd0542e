"""A verdict depends on the example alone: order, slots, candidates, company, kills and damage change nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from measurebench.attacks.standard import (
    ATTACKS,
    FolderStore,
    StandardResult,
    StandardSettings,
    evaluation,
    standard_attack,
)
from measurebench.attacks.standard.blocks import Arrays, decoded, encoded
from measurebench.core.threat import Norm
from tests.attacks.standard.stock import examples, radius_that_splits, small_network

N = 5
STEPS = {"apgd_steps": 8, "fab_steps": 4, "square_queries": 30}
NETWORK = small_network()
IMAGES, LABELS = examples(NETWORK, N)
KEYS = torch.arange(50, 50 + N)


def attack(norm: Norm, rows: torch.Tensor | None = None, **options: object) -> StandardResult:
    rows = torch.arange(N) if rows is None else rows
    threat = radius_that_splits(NETWORK, IMAGES, LABELS, norm, 0.3)
    ours = {k: options.pop(k) for k in ("slots", "candidates", "returns", "attacks") if k in options}
    settings = StandardSettings(**STEPS, **ours)
    return standard_attack(
        NETWORK,
        IMAGES[rows],
        LABELS[rows],
        threat,
        keys=KEYS[rows],
        seed=0,
        n_classes=10,
        settings=settings,
        **options,
    )


@pytest.fixture(scope="module", params=list(Norm))
def whole(request: pytest.FixtureRequest) -> tuple[Norm, StandardResult]:
    return request.param, attack(request.param)


def same(result: StandardResult, expected: StandardResult, rows: torch.Tensor | None = None) -> None:
    rows = torch.arange(N) if rows is None else rows
    for name in ("robust", "broken_by", "rank", "step", "clean", "failed"):
        assert torch.equal(getattr(result, name), getattr(expected, name)[rows]), name
    # Bit for bit but for the tails of vectorised loops (a division and a product of L2), which round once less.
    torch.testing.assert_close(result.adversarial, expected.adversarial[rows], atol=1e-16, rtol=0)


def test_signs_leave_no_room_for_rounding() -> None:
    first, second = attack(Norm.LINF, slots=2), attack(Norm.LINF, slots=100)
    assert torch.equal(first.adversarial, second.adversarial)


def test_the_example_is_a_fair_one(whole: tuple[Norm, StandardResult]) -> None:
    robust = whole[1].robust
    assert 0 < int(robust.sum()) < N


@pytest.mark.parametrize("slots", [1, 3, 20, 1000])
def test_slots_change_nothing(whole: tuple[Norm, StandardResult], slots: int) -> None:
    same(attack(whole[0], slots=slots), whole[1])


@pytest.mark.parametrize("candidates", [1, 3])
def test_candidates_at_once_change_nothing(whole: tuple[Norm, StandardResult], candidates: int) -> None:
    norm, expected = whole[0], attack(whole[0], attacks=("square",), candidates=2)
    same(attack(norm, attacks=("square",), candidates=candidates), expected)
    assert (expected.broken_by == 0).any()


def test_the_order_changes_nothing(whole: tuple[Norm, StandardResult]) -> None:
    order = np.array([3, 0, 2, 1, 4])
    same(attack(whole[0], order=order, slots=4), whole[1])


def test_the_company_changes_nothing(whole: tuple[Norm, StandardResult]) -> None:
    rows = torch.tensor([3, 0, 4])
    same(attack(whole[0], rows), whole[1], rows)


@pytest.mark.parametrize("search", ["fast", "folded"])
def test_a_fast_search_does_the_same_work_in_any_company(search: str) -> None:
    torch.manual_seed(1)
    body = [torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten()]
    network = torch.nn.Sequential(*body, torch.nn.Linear(128, 10)).eval().requires_grad_(False)
    images = IMAGES.float()
    labels = network(images).argmax(1)
    threat = radius_that_splits(network, images, labels, Norm.LINF, 0.5)

    def on(rows: list[int]) -> StandardResult:
        options = {"n_classes": 10, "seed": 0, "settings": StandardSettings(**STEPS)}
        return standard_attack(network, images[rows], labels[rows], threat, keys=KEYS[rows], search=search, **options)

    same_work(on(list(range(N))), on)


def test_the_slack_of_one_example_is_not_that_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    images, threat = IMAGES.clone(), radius_that_splits(NETWORK, IMAGES, LABELS, Norm.LINF, 0.5)
    images[1] = 0.02 * images[1]  # so dark that no made-up image is like it
    labels = NETWORK(images).argmax(1)
    own = NETWORK(images)
    margins = own.gather(1, labels[:, None])[:, 0] - own.scatter(1, labels[:, None], -torch.inf).amax(1)

    def errs_in_the_dark(points: torch.Tensor) -> torch.Tensor:
        by = 0.05 * float(margins.median()) * (points.flatten(1).mean(1) < 0.15).to(points)
        logits = NETWORK(points)
        return logits.scatter_add(1, logits.argmax(1)[:, None], by[:, None])

    monkeypatch.setattr(evaluation, "search_networks", lambda *_: [("planted", errs_in_the_dark)])

    def on(rows: list[int]) -> StandardResult:
        options = {"n_classes": 10, "seed": 0, "settings": StandardSettings(**STEPS)}
        return standard_attack(NETWORK, images[rows], labels[rows], threat, keys=KEYS[rows], **options)

    together = on(list(range(N)))
    same_work(together, on)
    assert together.diagnostics["margin_difference"] > 0


def same_work(together: StandardResult, on: Callable[[list[int]], StandardResult]) -> None:
    """Compare the work on all examples with that on some of them, and on each alone."""
    assert together.diagnostics["search_network"] != "reference"
    near = 0
    for rows in ([0, 2, 4], *([row] for row in range(N))):
        apart = on(rows)
        for name in ("robust", "broken_by", "rank", "step", "n_forward", "n_backward"):
            assert torch.equal(getattr(apart, name), getattr(together, name)[rows]), name
        near += int(apart.diagnostics["near_misses"]) if len(rows) == 1 else 0
    assert together.diagnostics["near_misses"] == near


@pytest.mark.parametrize("slots", [2, 30])
def test_what_comes_first_is_the_same_with_any_slots_and_verdicts_are_as_published(
    whole: tuple[Norm, StandardResult], slots: int
) -> None:
    first = attack(whole[0], returns="first")
    assert torch.equal(first.robust, whole[1].robust)
    same(attack(whole[0], returns="first", slots=slots), first)
    assert int(first.n_forward.sum()) < int(whole[1].n_forward.sum())


class Killed(BaseException):
    """Stands for the end of a process."""


class Dying(FolderStore):
    """A store whose process dies after so many blocks."""

    def __init__(self, folder: Path, after: int) -> None:
        super().__init__(folder)
        self.left = after

    def put(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1
        super().put(name, arrays)


@pytest.mark.parametrize("after", [1, 9, 18])
def test_a_killed_run_goes_on_to_the_same_end(whole: tuple[Norm, StandardResult], tmp_path: Path, after: int) -> None:
    with pytest.raises(Killed):
        attack(whole[0], store=Dying(tmp_path, after), save_seconds=0.0, slots=6)
    same(attack(whole[0], store=FolderStore(tmp_path), slots=5), whole[1])


def test_what_is_stored_is_not_searched_again(whole: tuple[Norm, StandardResult], tmp_path: Path) -> None:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    attack(whole[0], store=FolderStore(tmp_path))
    handle = NETWORK.register_forward_pre_hook(count)
    try:
        again = attack(whole[0], store=FolderStore(tmp_path))
    finally:
        handle.remove()
    same(again, whole[1])
    assert calls <= 6 + len(ATTACKS) + 1  # the clean images and the checks, each attack's images, and the audit


def forgotten(folder: Path, example: int) -> None:
    """Make an example's searches pending again in every stored block, as if they had been interrupted."""
    store = FolderStore(folder)
    for path in folder.glob("*.block"):
        arrays = store.get(path.stem)
        assert arrays is not None
        place = int((arrays["winners"][:example] < 2**62).sum())
        if arrays["winners"][example] < 2**62:
            arrays["images"] = np.delete(arrays["images"], place, axis=0)
        arrays["status"][example], arrays["winners"][example] = 0, 2**62
        store.put(path.stem, arrays)


def test_fewer_examples_leave_the_stored_ones_beyond_them(whole: tuple[Norm, StandardResult], tmp_path: Path) -> None:
    attack(whole[0], store=FolderStore(tmp_path))
    forgotten(tmp_path, 1)  # so that the block is written again
    few = torch.arange(3)
    same(attack(whole[0], few, store=FolderStore(tmp_path)), whole[1], few)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    handle = NETWORK.register_forward_pre_hook(count)
    try:
        again = attack(whole[0], store=FolderStore(tmp_path))
    finally:
        handle.remove()
    same(again, whole[1])
    assert calls <= 6 + len(ATTACKS) + 1


def test_rows_of_square_beyond_the_last_example_and_rows_that_wait_keep_their_place(tmp_path: Path) -> None:
    options = {"attacks": ("square",), "save_seconds": 0.0, "candidates": 1}
    whole = attack(Norm.L2, attacks=("square",), candidates=1)
    with pytest.raises(Killed):
        attack(Norm.L2, store=Dying(tmp_path, 20), **options)
    with pytest.raises(Killed):  # one slot: the others wait, and are saved all the same
        attack(Norm.L2, torch.arange(3), store=Dying(tmp_path, 3), slots=1, **options)
    (name,) = [path.stem for path in tmp_path.glob("square-*-00000.block")]
    block = FolderStore(tmp_path).get(name)
    assert block is not None
    assert len(block["marks"]) == N
    places = dict(zip(block["flight-example"].tolist(), block["flight-iteration"].tolist(), strict=True))
    reached = torch.tensor([22, 19, 19, 19, 19])  # the one slot went three passes further with the first example
    left = whole.step.masked_fill(whole.broken_by < 0, 99) > reached
    assert set(places) == set(left.nonzero()[:, 0].tolist())
    assert min(places.values()) == 19
    assert places[3] == 19
    again = attack(Norm.L2, attacks=("square",), store=FolderStore(tmp_path), candidates=1)
    same(again, whole)
    assert torch.equal(again.n_forward, whole.n_forward)


def test_square_goes_on_from_where_it_was(tmp_path: Path) -> None:
    expected = attack(Norm.L2, attacks=("square",), candidates=1)
    with pytest.raises(Killed):
        attack(Norm.L2, attacks=("square",), store=Dying(tmp_path, 20), save_seconds=0.0, candidates=1)
    (name,) = [path.stem for path in tmp_path.glob("square-*-00000.block")]
    block = FolderStore(tmp_path).get(name)
    assert block is not None
    assert set(block["flight-iteration"].tolist()) == {19}  # of 20 passes the first one saw the first point
    again = attack(Norm.L2, attacks=("square",), store=FolderStore(tmp_path), candidates=1)
    same(again, expected)
    assert torch.equal(again.n_forward, expected.n_forward)


def test_square_that_goes_on_under_linf_ends_with_the_same(tmp_path: Path) -> None:
    expected = attack(Norm.LINF, attacks=("square",), candidates=1)
    with pytest.raises(Killed):
        attack(Norm.LINF, attacks=("square",), candidates=1, store=Dying(tmp_path, 6), save_seconds=0.0)
    again = attack(Norm.LINF, attacks=("square",), candidates=1, store=FolderStore(tmp_path))
    same(again, expected)
    # What was tried in vain before the end of the process is not stored, and may be tried again.
    assert bool((again.n_forward >= expected.n_forward).all())


@pytest.mark.parametrize("share", [0.0, 0.8, 1.0])
def test_a_block_that_was_cut_is_made_again(whole: tuple[Norm, StandardResult], tmp_path: Path, share: float) -> None:
    attack(whole[0], store=FolderStore(tmp_path))
    for path in tmp_path.glob("*.block"):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * (len(content) - 1))])
    same(attack(whole[0], store=FolderStore(tmp_path)), whole[1])


def test_a_block_of_other_settings_is_not_taken(whole: tuple[Norm, StandardResult], tmp_path: Path) -> None:
    other = Norm.L2 if whole[0] is Norm.LINF else Norm.LINF
    attack(other, store=FolderStore(tmp_path))
    same(attack(whole[0], store=FolderStore(tmp_path)), whole[1])


def test_no_cut_and_no_flipped_bit_of_a_block_passes() -> None:
    arrays: Arrays = {"a": np.arange(5), "b": np.ones((2, 3), np.float32)}
    content = encoded(arrays)
    back = decoded(content)
    assert back is not None
    np.testing.assert_equal(back, arrays)
    assert all(decoded(content[:i]) is None for i in range(len(content)))
    for i in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[i] ^= 4
        assert decoded(bytes(flipped)) is None
