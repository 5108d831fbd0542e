import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from measurebench.attacks.standard import StandardSettings, apgd, fab, projections, rows, square, standard_attack
from measurebench.core.errors import BadInputError
from measurebench.core.threat import Norm, ThreatModel
from tests.attacks.standard.stock import examples, radius_that_splits, small_network

NETWORK = small_network()
IMAGES, LABELS = examples(NETWORK, 5)
THREAT = radius_that_splits(NETWORK, IMAGES, LABELS, Norm.LINF)


def attack(settings: StandardSettings, network: nn.Module = NETWORK, images: Tensor = IMAGES, **more: object):
    options = {"keys": torch.arange(len(images)), "seed": 0, "n_classes": 10, "settings": settings} | more
    return standard_attack(network, images, LABELS[: len(images)], THREAT, **options)


def test_passes_are_those_that_the_network_sees() -> None:
    seen = 0

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal seen
        seen += len(inputs[0])

    handle = NETWORK.register_forward_pre_hook(count)
    settings = StandardSettings(attacks=("square",), square_queries=20, candidates=1, slots=10)
    result = attack(settings)
    handle.remove()
    broken = int((result.broken_by >= 0).sum())
    # Four more times for the checks and the audit, five rows; one row of four for the dynamic check; the judge's four.
    overhead = 4 * 5 + 4 + 5 + max(broken, 4) * (broken > 0)
    searched = int(result.n_forward.sum()) - 5
    assert searched <= seen - overhead - 5 <= searched + 3 * 20


def test_a_robust_image_costs_no_more_than_the_published_attack() -> None:
    settings = StandardSettings(apgd_steps=10, fab_steps=10, square_queries=20, candidates=1)
    result = attack(settings)
    robust = result.robust.nonzero()[:, 0]
    forward = 1 + 11 + 9 * 11 + 9 * 2 * 10 + 21
    backward = 10 + 9 * 10 + 9 * 10  # APGD's last point needs none
    assert len(robust)
    # FAB sees one gradient more, where a search crosses the boundary late, and one verdict less for steps before.
    assert int(result.n_forward[robust].max()) <= forward
    assert backward <= int(result.n_backward[robust].max()) <= backward + 9


def test_each_attack_takes_what_is_left() -> None:
    result = attack(StandardSettings(apgd_steps=10, fab_steps=5, square_queries=20))
    left = [int(result.withstood[name].sum()) for name in ("apgd-ce", "apgd-t", "fab-t", "square")]
    assert left == sorted(left, reverse=True)
    assert left[-1] == int(result.robust.sum())
    assert (result.n_forward[result.broken_by == 0] == 1 + 11).all()
    assert torch.equal(result.distances > 0, ~result.robust)
    assert float(result.distances.max()) <= THREAT.radius + 1e-12
    assert (result.margins[result.broken_by >= 0] <= 0).all()
    assert (result.margins[result.robust] > 0).all()


def test_wrong_images_are_not_attacked() -> None:
    wrong = (LABELS + 1) % 10
    settings = StandardSettings(attacks=("square",), square_queries=2)
    keys = torch.arange(5)
    result = standard_attack(NETWORK, IMAGES, wrong, THREAT, keys=keys, seed=0, n_classes=10, settings=settings)
    assert not bool(result.clean.any())
    assert not bool(result.robust.any())
    assert torch.equal(result.adversarial, IMAGES)
    assert (result.broken_by == -1).all()


def test_two_seeds_search_elsewhere() -> None:
    settings = StandardSettings(attacks=("square",), square_queries=20)
    first, second = (attack(settings, seed=seed) for seed in (0, 1))
    assert not torch.equal(first.margins, second.margins)


def test_a_square_that_breaks_what_the_others_left_is_flagged() -> None:
    class Masked(nn.Module):
        """Its gradients are zero, so that only Square gets anywhere."""

        def forward(self, points: Tensor) -> Tensor:
            return NETWORK(points.detach()) + 0.0 * NETWORK(points)

    network = Masked()
    settings = StandardSettings(attacks=("apgd-t", "square"), apgd_steps=3, square_queries=200)
    keys = torch.arange(5)
    result = standard_attack(network, IMAGES, LABELS, THREAT, keys=keys, seed=0, n_classes=10, settings=settings)
    assert (result.broken_by == 1).any()
    assert any("Square Attack has decreased the robust accuracy" in flag for flag in result.flags)
    assert any("zero gradient" in flag for flag in result.flags)


@pytest.mark.parametrize("norm", list(Norm))
def test_a_tie_that_stays_with_the_label_ends_no_search(norm: Norm) -> None:
    class Tied(nn.Module):
        """Two classes share the largest logit everywhere; the label comes first."""

        def forward(self, points: Tensor) -> Tensor:
            return torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=points.dtype).repeat(len(points), 1) + 0 * points.sum()

    settings = StandardSettings(attacks=("square",), square_queries=12, candidates=1)
    labels, keys = torch.zeros(5, dtype=torch.int64), torch.arange(5)
    threat = ThreatModel.parse(norm.value, THREAT.radius)
    result = standard_attack(Tied(), IMAGES, labels, threat, keys=keys, seed=0, n_classes=4, settings=settings)
    assert bool(result.robust.all())
    # The clean image, the first point and 12 candidates; under Linf those that change no pixel need no pass.
    least = {Norm.L2: 14, Norm.LINF: 12}[norm]
    assert all(least <= n <= 14 for n in result.n_forward.tolist())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": IMAGES[:, :, :4, :4]}, "at least 5 pixels a side"),
        ({"images": IMAGES.flatten(1)}, "expected shape"),
        ({"images": IMAGES[:0]}, "expected at least one, got none"),
        ({"n_classes": 3}, "expected at least 4"),
        ({"n_classes": 7}, "expected 7 logits"),
        ({"keys": torch.arange(2)}, "one for each of 5 images"),
    ],
)
def test_what_cannot_be_attacked_is_refused_in_words(change: dict, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        attack(StandardSettings(), **change)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attacks": ("apgd",)}, "did you mean 'apgd-t' or 'apgd-ce'"),
        ({"attacks": ("square", "square")}, "each attack once"),
        ({"attacks": ()}, "at least one"),
        ({"returns": "last"}, "published or first"),
        ({"slots": 0}, "slots: expected a positive integer, got 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        StandardSettings(**options)


def test_memory_that_runs_out_makes_the_batches_smaller_and_changes_nothing() -> None:
    class Small(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            if len(points) > 6:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return NETWORK(points)

    settings = StandardSettings(apgd_steps=5, fab_steps=3, square_queries=10, slots=16)
    small, whole = attack(settings, Small()), attack(settings)
    assert torch.equal(small.robust, whole.robust)
    torch.testing.assert_close(small.adversarial, whole.adversarial, atol=1e-15, rtol=0)


class Counting(TorchDispatchMode):
    """Counts operations, and those for which a host waits for its device."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.waits: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        if func.overloadpacket.__name__ in ("nonzero", "_local_scalar_dense", "unique", "masked_select"):
            self.waits.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("norm", list(Norm))
def test_a_step_never_waits_and_its_operations_are_bounded(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rows, apgd, projections, square):
        monkeypatch.setattr(module, "some", lambda *_: True, raising=True)
    n, radius = 5, 0.1
    ones = torch.ones(n, dtype=torch.float64)
    gradient = torch.rand_like(IMAGES) - 0.5
    ascent = apgd.start(IMAGES, gradient, norm, radius)
    due = apgd.Checkpoints.after(20, 0.75, IMAGES)
    walk = fab.start(IMAGES)
    plan = square.Plan.of(IMAGES, norm, radius, 50)
    tiles = square.start(IMAGES, IMAGES, plan) | {"best_margin": ones}
    numbers = torch.rand(n, 3, square.n_numbers(3, norm), dtype=torch.float64)

    def squares(count: int | Tensor) -> None:
        points = square.proposals(tiles, numbers, plan).flatten(0, 1)
        tried = square.Tried(points, LABELS.repeat_interleave(3), torch.arange(3 * n).reshape(n, 3), count)
        square.absorb(tiles, tried, numbers[:, :, 0].flatten(), numbers[:, :, 1].flatten() > 0, ones > 0, plan)

    steps = {
        "apgd": (lambda: apgd.advance(dict(ascent), ones, gradient, due, norm, radius), 120),
        "fab": (lambda: fab.advance(walk, ones > 0, ones, gradient, norm), 80 + 20 * projections.ROUNDS),
        "judged": (lambda: fab.judged(walk, ones > 0, ones > 0, norm), 30),
        "square": (lambda: squares(3), 180),
        "square, rows of their own": (lambda: squares(torch.full((n,), 3)), 190),  # 183 under torch 2.8
    }
    for name, (step, bound) in steps.items():
        with torch.no_grad(), Counting() as counting:
            step()
        assert not counting.waits, name
        assert 0 < counting.operations <= bound, (name, counting.operations)


def test_checkpoints_are_those_of_the_published_hundred_steps() -> None:
    due = apgd.Checkpoints.after(100, 0.75, IMAGES).due.nonzero()[:, 0].tolist()
    # Intervals 22, 19, 16, 13, 10, 7, 6, 6: the schedule of the paper's section 3.3.
    assert due == [22, 41, 57, 70, 80, 87, 93, 99]


def test_windows_shrink_as_published() -> None:
    sizes = square.window_sizes(5000, (3, 32, 32), Norm.LINF)
    expected = {0: 29, 10: 29, 11: 20, 51: 14, 201: 10, 501: 7, 1001: 5, 2001: 4, 4001: 3}
    assert {i: sizes[i] for i in expected} == expected
    assert set(square.window_sizes(5000, (3, 32, 32), Norm.L2)) == {29, 21, 15, 11, 7, 5, 3}


@pytest.mark.parametrize("side", [1, 2, 3, 6, 9])
def test_square_patterns_are_the_published_ones(side: int) -> None:
    from pyautoattack.square import SquareAttack

    attack_ = SquareAttack(None, norm="L2", device=torch.device("cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        published = attack_.eta(side).double()
    ours = square.pattern(side)
    assert any(torch.allclose(published, turned, atol=1e-6) for turned in (ours, ours.T))
    assert float((ours**2).sum()) == pytest.approx(1.0)
