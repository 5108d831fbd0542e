"""One network and its examples, with the work that measures share: done once, timed apart."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.attacks.audit import AttackOutcome
from measurebench.attacks.noise import content_keys
from measurebench.attacks.perform import attacked, judged
from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import Attack, AttackContext, AttackResult, BlockStore
from measurebench.attacks.registry import find_attack
from measurebench.attacks.standard.calibration import Calibration, calibrated
from measurebench.attacks.standard.networks import Reference, Tf32, is_float16, search_networks
from measurebench.compute.batching import Batches
from measurebench.compute.devices import clock
from measurebench.compute.precision import searching
from measurebench.core.config import PGD_STEP_FRACTION, PGD_STEPS, Precision
from measurebench.core.errors import BadInputError
from measurebench.core.info import Examples, Split
from measurebench.core.threat import ThreatModel
from measurebench.measures.network.exchange import call_with
from measurebench.measures.value import UndefinedMeasureError
from measurebench.models.effective import plain

__all__ = ["GradientPass", "MeasureContext", "MeasureSettings", "T"]

T = TypeVar("T")


@dataclass(frozen=True)
class MeasureSettings:
    """All that the shared work depends on, besides network and examples.

    ``gradients`` names the kinds of examples whose logits come from the shared forward and backward pass; it
    follows from all measures asked for, so that a resumed run computes as an unbroken one. ``weight_gradients`` names
    those for which that pass goes to the weights as well. ``attacked`` says how many of the first examples an attack
    takes, by its id; an attack that is not named takes all of them. In ``fast`` precision PGD and AutoAttack search
    with a network in 16 bits on a GPU; every verdict and value is exact either way.
    """

    threat: ThreatModel
    seed: int = 0
    split: Split = "train"
    pgd_steps: int = PGD_STEPS
    pgd_step_fraction: float = PGD_STEP_FRACTION
    gradients: frozenset[Examples] = frozenset()
    attacked: Mapping[str, int] = field(default_factory=dict)
    precision: Precision = "exact"
    weight_gradients: frozenset[Examples] = frozenset()


@dataclass(frozen=True)
class GradientPass:
    """One forward and backward pass over all examples.

    ``logits`` [n, K]; ``inputs`` [n, ...], the gradient of each example's cross-entropy at its image; ``weights``,
    the gradient of the mean cross-entropy per trainable parameter, in its dtype; batches are added up in float64.
    """

    logits: Tensor
    inputs: Tensor
    weights: Mapping[str, Tensor]


@dataclass
class _Clock:
    """Seconds per piece of shared work, each without the pieces that it asked for in turn."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)
    inner: list[float] = field(default_factory=lambda: [0.0])

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        start = clock(self.device)
        self.inner.append(0.0)
        try:
            yield
        finally:
            whole = clock(self.device) - start
            self.seconds[name] = self.seconds.get(name, 0.0) + whole - self.inner.pop()
            self.inner[-1] += whole


class MeasureContext:
    """Network, examples, settings and memoised shared work, for one model and one split.

    ``network`` maps images to logits, is in evaluation mode and takes the dtype of ``images``; ``images`` [n, ...]
    in [0, 1] and ``labels`` int64 [n] lie on its device; ``keys`` int64 [n] name the examples for random draws (by
    default a hash of their pixels); ``adversarial`` [n, ...] stands in for PGD's examples. Nothing here changes the
    network: perturbed weights go through ``logits_with``. Weights that hooks or parametrisations compute are parameters
    of the context's network, a copy; where that is not possible, ``no_weights`` says why.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        settings: MeasureSettings,
        *,
        initial_network: nn.Module | None = None,
        keys: Tensor | None = None,
        adversarial: Tensor | None = None,
        batch_size: int = 256,
        store: BlockStore | None = None,
    ) -> None:
        found = plain(network, images[:1])
        self.network, self.images, self.labels, self.settings = found.network, images, labels, settings
        self.no_weights = found.reason
        self._keys = keys
        self.batches = Batches(batch_size)
        self._initial_network = None if initial_network is None else plain(initial_network, images[:1]).network
        self._store = store
        self._clock = _Clock(images.device)
        self._memo: dict[str, Any] = {}
        if adversarial is not None:
            if adversarial.shape != images.shape:
                raise BadInputError("adversarial", f"shape {tuple(images.shape)}", str(tuple(adversarial.shape)))
            self._memo["pgd examples"] = AttackResult(adversarial.detach())

    # ---- what is there -------------------------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.labels)

    @property
    def keys(self) -> Tensor:
        """The keys of the examples, int64 [n]: those given, or hashes of the pixels."""
        if self._keys is None:
            self._keys = content_keys(self.images)
        return self._keys

    @property
    def threat(self) -> ThreatModel:
        """The threat model of the attacks."""
        return self.settings.threat

    @property
    def n_classes(self) -> int:
        """Width of the network's output."""
        return self.clean_logits.shape[1]

    @property
    def initial_network(self) -> nn.Module:
        """The network with its weights at epoch 0; raises UndefinedMeasureError where they are not known."""
        if self._initial_network is None:
            raise UndefinedMeasureError("the weights at initialisation are not known (no init_file)")
        return self._initial_network

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The trainable parameters by name, detached; tied ones once, under the first of their names."""
        return {name: parameter.detach() for name, parameter in self.network.named_parameters()}

    @property
    def shared_seconds(self) -> dict[str, float]:
        """Seconds spent on each piece of shared work so far."""
        return dict(self._clock.seconds)

    # ---- shared work ---------------------------------------------------------------------------------------

    def shared(self, name: str, compute: Callable[[], T]) -> T:
        """Return a piece of shared work, computed on first use and timed apart from the measure that asked."""
        if name not in self._memo:
            with self._clock.time(name):
                self._memo[name] = compute()
        return cast("T", self._memo[name])

    def examples(self, kind: Examples) -> Tensor:
        """Return the images [n, ...]: clean, or PGD's."""
        return self.images if kind == "clean" else self.adversarial

    def logits(self, kind: Examples) -> Tensor:
        """Return the logits [n, K] at clean images or at PGD examples, without gradients."""
        if kind in self.settings.gradients:
            return self.input_gradients(kind).logits
        return self.shared(f"{kind} logits", lambda: self.forward(self.examples(kind)))

    def n_nan(self, kind: Examples) -> int:
        """Return for how many of the images, clean or PGD's, the network's output is NaN."""
        return self.shared(f"{kind} nan outputs", lambda: int(self.logits(kind).isnan().any(1).sum()))

    @property
    def clean_logits(self) -> Tensor:
        """Logits [n, K] at the clean images."""
        return self.logits("clean")

    @property
    def adversarial(self) -> Tensor:
        """PGD examples [n, ...] of the unperturbed network: random start, the last iterate."""
        return self._pgd_result.adversarial

    @property
    def adversarial_logits(self) -> Tensor:
        """Logits [n, K] at the PGD examples."""
        return self.logits("pgd")

    def pgd(self, **changes: Any) -> PGD:
        """Return the PGD attack of the settings, with some of its fields changed."""
        return replace(PGD(self.settings.pgd_steps, self.settings.pgd_step_fraction), **changes)

    def attack(self, attack: Attack, *, threat: ThreatModel | None = None, targets: Tensor | None = None) -> Tensor:
        """Return the attack's images [n, ...] for all examples, within the context's threat model or another one.

        ``targets`` int64 [n] are classes to reach.
        """
        return self._attacked(attack, self.n, threat=threat, targets=targets).adversarial

    def attack_rows(self, attack: Attack, network: nn.Module, rows: slice) -> Tensor:
        """Return the attack's images [rows, ...] for another network, such as one with perturbed weights."""
        context = self._attack_context(attack, self.n).at(rows)
        return attack(network, self.images[rows], self.labels[rows], context).adversarial

    def gradients(self, kind: Examples) -> GradientPass:
        """Return logits, input gradients and weight gradient from the one forward and backward pass they share."""
        return self.shared(f"{kind} gradients", lambda: self._gradient_pass(self.examples(kind), weights=True))

    def input_gradients(self, kind: Examples) -> GradientPass:
        """Return logits and input gradients; the gradients in the weights are left out where no measure needs them."""
        if kind in self.settings.weight_gradients or f"{kind} gradients" in self._memo:
            return self.gradients(kind)
        name = f"{kind} input gradients"
        return self.shared(name, lambda: self._gradient_pass(self.examples(kind), weights=False))

    def n_attacked(self, attack: Attack) -> int:
        """Return how many of the examples an attack takes: the first ones, or all."""
        return min(self.n, self.settings.attacked.get(attack.info.id, self.n))

    def outcome(self, attack: Attack | str) -> AttackOutcome:
        """Return the audited outcome of an attack, or of the one that a reference such as ``autoattack`` means."""
        chosen = find_attack(attack) if isinstance(attack, str) else attack
        info = chosen.info
        return self.shared(f"{info.id} {info.reference} outcome", lambda: self._outcome(chosen))

    def search_ahead(self, attack: Attack, start: int, stop: int) -> None:
        """Let a divisible attack search some of its examples; ``outcome`` will find them in the store."""
        self._attacked(attack, self.n_attacked(attack), only=(start, stop))

    # ---- passes --------------------------------------------------------------------------------------------

    def forward(self, images: Tensor, network: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return logits [n, K] without gradients."""
        model = self.network if network is None else network
        with torch.no_grad():
            return self.batches.cat(lambda rows: model(images[rows]), len(images))

    def logits_with(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Return the logits of the network with other parameters, for one batch; gradients flow if enabled."""
        return call_with(self.network, parameters, images)

    @property
    def _pgd_result(self) -> AttackResult:
        return self.shared("pgd examples", lambda: self._attacked(self.pgd(), self.n))

    def _attack_context(
        self,
        attack: Attack,
        n: int,
        threat: ThreatModel | None = None,
        targets: Tensor | None = None,
        only: tuple[int, int] | None = None,
    ) -> AttackContext:
        """Return what an attack is given; the number of classes costs a pass, so only those that ask get it."""
        settings, n_classes = self.settings, self.n_classes if attack.info.min_classes else 0
        return AttackContext(
            threat or self.threat,
            self.keys[:n],
            settings.seed,
            settings.split,
            targets,
            n_classes,
            self._store,
            self.batches.size,
            only,
        )

    def _attacked(
        self,
        attack: Attack,
        n: int,
        threat: ThreatModel | None = None,
        targets: Tensor | None = None,
        only: tuple[int, int] | None = None,
    ) -> AttackResult:
        context = self._attack_context(attack, n, threat, targets, only)
        network, search = self._network_for(attack)
        result = attacked(attack, network, self.images[:n], self.labels[:n], context, self.batches)
        return result if result.search or not search else replace(result, search=search)

    @property
    def search_network(self) -> str:
        """The name of the network with which PGD searched in place of the judge; empty where the judge did."""
        choice: Calibration | None = self._memo.get("search network")
        return "" if choice is None or choice.is_reference else choice.name

    def _network_for(self, attack: Attack) -> tuple[nn.Module, str]:
        """Return the network that an attack is given, and its name where it is not the judge.

        An attack that stops at the first success it sees, and does not ask the judge, is given the judge itself.
        """
        may_search = attack.info.exact or (isinstance(attack, PGD) and attack.restarts == 1)
        if self.settings.precision == "exact" or not may_search or not self.images.is_cuda:
            return self.network, ""
        choice = self.shared("search network", self._calibrated)
        return searching(self.network, choice.call), self.search_network

    def _calibrated(self) -> Calibration:
        """Return the fastest network whose margins are near enough to the judge's.

        Neither float16 nor TF32: their gradients need the care that AutoAttack's engine takes of them.
        """
        choices = [
            (name, network)
            for name, network in search_networks(self.network, fast=True)
            if not is_float16(network) and not isinstance(network, Tf32)
        ]
        judge, n_classes = Reference(self.network), self.n_classes
        return calibrated(judge, choices, self.images, self.threat, n_classes, self.batches.size)

    def _outcome(self, attack: Attack) -> AttackOutcome:
        """Judge an attack; the one whose examples all measures share is not made again."""
        info, n = attack.info, self.n_attacked(attack)
        if info.examples is None:
            result = self._attacked(attack, n)
            logits = self.forward(result.adversarial)
        else:
            result, logits = self._pgd_result, self.logits(info.examples)
        return judged(result, self.images[:n], self.labels[:n], self.clean_logits[:n], logits, self.threat)

    def _gradient_pass(self, images: Tensor, weights: bool) -> GradientPass:
        parameters = {name: value.requires_grad_(weights) for name, value in self.parameters.items()}
        wanted = list(parameters.values()) if weights else []
        totals: dict[str, Tensor] = {}
        logits, inputs = [], []

        def run(rows: slice) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
            points = images[rows].detach().requires_grad_(True)
            output = self.logits_with(parameters, points)
            loss = F.cross_entropy(output, self.labels[rows], reduction="sum")
            at_inputs, *at_weights = torch.autograd.grad(loss, [points, *wanted], allow_unused=True)
            if at_inputs is None:
                at_inputs = torch.zeros_like(points)
            return output.detach(), at_inputs, tuple(at_weights)

        with torch.enable_grad():
            for output, at_inputs, at_weights in self.batches.each(run, len(images)):
                logits.append(output)
                inputs.append(at_inputs)
                for name, gradient in zip(parameters, at_weights, strict=False):
                    if gradient is not None:  # a single batch needs neither a sum nor the memory for it
                        totals[name] = totals[name].double().add_(gradient) if name in totals else gradient
        means = {
            name: (totals.pop(name) / len(images)).to(value) if name in totals else torch.zeros_like(value)
            for name, value in (self.parameters.items() if weights else ())
        }
        return GradientPass(torch.cat(logits), torch.cat(inputs), means)
