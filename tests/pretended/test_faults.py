"""Faults that only a GPU has, each caught without one; those not mended yet are expected to fail, with their place."""

import gc
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from measurebench import measure
from measurebench.checks import check_model
from measurebench.compute import memory
from measurebench.compute.batch_size import automatic_batch_size
from measurebench.compute.batching import Batches, smaller_until_it_fits
from measurebench.compute.numerics import numerics
from measurebench.measures.api import evaluate
from measurebench.measures.perturbation.hessian import LossHessian, lanczos
from measurebench.measures.perturbation.weight_noise import WeightNoise
from measurebench.measures.registry import find_measure
from tests.pretended import counting, pretended_gpu
from tests.pretended.memory import MEMORY
from tests.pretended.subjects import examples, measure_context, network, same, short_autoattack

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.fixture(autouse=True)
def _tf32_as_torch_has_it() -> Any:
    """Start from torch's own settings: TF32 in convolutions, none in matrix products."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


# ---- precision ---------------------------------------------------------------------------------------------------


def test_measuring_in_memory_computes_in_full_precision() -> None:
    net = network("convolutional")
    images, labels = examples(net, 4)
    with counting() as counts:
        measure(net.to("cuda"), images.to("cuda"), labels.to("cuda"), ["average_ce_pgd"], norm="Linf", radius=0.05)
    assert counts.by_reduced == {}


def test_a_check_computes_in_full_precision(manifest, images_file) -> None:
    with counting() as counts:
        check_model(f"{manifest}#net0", f"arrays:{images_file}", attack_examples=2, device="cuda")
    assert counts.by_reduced == {}


def test_exact_numerics_leave_no_product_in_lower_precision() -> None:
    net = network("residual").to("cuda")
    images = torch.rand(2, 1, 8, 8, device="cuda")
    with numerics("exact"), counting() as counts:
        net(images)
    assert counts.by_reduced == {}


def test_a_fast_run_searches_in_16_bits_and_judges_in_full_precision() -> None:
    context = measure_context("cuda", "residual", 4)
    context.settings = replace(context.settings, precision="fast")
    with numerics("exact"), counting() as counts:
        _ = context.adversarial
    assert counts.by_reduced["convolution"] > 0
    assert context.search_network == "bfloat16 layers, float32 head"
    with numerics("exact"), counting() as counts:
        outcome = context.outcome("pgd")
        values = [evaluate(find_measure(name), context) for name in ("average_ce", "average_ce_pgd", "x_grad_norm_pgd")]
    assert counts.by_reduced == {}
    assert outcome.search == context.search_network
    assert {value.status for value in values} == {"measured"}


def test_in_exact_precision_nothing_searches_in_16_bits() -> None:
    context = measure_context("cuda", "residual", 4)
    with numerics("exact"), short_autoattack(), counting() as counts:
        found = [context.outcome(name) for name in ("pgd", "autoattack")]
    assert counts.by_reduced == {}
    assert [outcome.search for outcome in found] == ["", "batch norm folded"]


def test_on_a_cpu_a_fast_run_searches_as_an_exact_one_does() -> None:
    exact, fast = (measure_context("cpu", "residual", 4) for _ in range(2))
    fast.settings = replace(fast.settings, precision="fast")
    assert same(exact.adversarial, fast.adversarial)
    assert fast.search_network == ""


def test_an_attack_that_trusts_its_own_eyes_is_given_the_judge_in_a_fast_run() -> None:
    context = measure_context("cuda", "residual", 4)
    context.settings = replace(context.settings, precision="fast")
    with numerics("exact"), short_autoattack(), counting() as counts:
        context.outcome("autoattack-stock")
    assert counts.by_reduced == {}


# ---- memory ------------------------------------------------------------------------------------------------------


def too_large(sizes: list[int]) -> Any:
    """Return a function of rows that needs 4,000 bytes per row, and notes how many rows it is given."""

    def work(rows: slice) -> Tensor:
        n = rows.stop - rows.start
        sizes.append(n)
        activations = torch.ones(n, 500, device="cuda")
        return (activations * 2).sum(1)

    return work


def released(action: Any) -> int:
    """Return how many bytes more than before were held when the cache was emptied for the first time."""
    gc.collect()
    before, n_before = MEMORY.allocated, len(MEMORY.at_release)
    with MEMORY.limited(18_000):
        action()
    return MEMORY.at_release[n_before] - before


def test_a_batch_that_does_not_fit_is_let_go_before_the_cache_is_emptied() -> None:
    assert released(lambda: Batches(8).cat(too_large([]), 8)) == 0


def test_an_attack_that_does_not_fit_is_let_go_before_the_cache_is_emptied() -> None:
    work = too_large([])
    assert released(lambda: smaller_until_it_fits(lambda size: work(slice(0, size)), 8)) == 0


def test_what_does_not_fit_at_once_is_computed_in_parts() -> None:
    sizes: list[int] = []
    with MEMORY.limited(18_000):
        found = Batches(8).cat(too_large(sizes), 8)
    assert found.tolist() == [1000.0] * 8
    assert sizes == [8, 4, 4]


def test_one_batch_that_did_not_fit_leaves_other_work_at_full_size() -> None:
    batches, sizes = Batches(8), []
    with MEMORY.limited(18_000):
        batches.cat(too_large([]), 8)
    batches.cat(lambda rows: too_large(sizes)(rows), 8)
    assert sizes == [8]


def test_batches_take_a_share_of_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = torch.nn.Flatten(), torch.zeros(1).expand(1, 1, 2**18).to("cuda")  # 3 MiB an image
    found = []
    for gib in (3, 80, 1000):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_, n=gib: (n * 2**30, n * 2**30))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: torch.cuda.memory_allocated())
        found.append(automatic_batch_size(torch.nn.Sequential(net), image, "cuda:0"))
    assert found == [256, 1024, 1024]


def test_processes_that_share_a_gpu_get_equal_parts_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (80 * 2**30, 80 * 2**30))
    net, image = torch.nn.Flatten(), torch.zeros(1).expand(1, 1, 2**20).to("cuda")  # 12 MiB an image
    found = []
    for n in (1, 4, 16):
        monkeypatch.setattr(memory, "_SHARING", [1])
        memory.share_gpu(n)
        found.append((memory.free_bytes("cuda") or 0, automatic_batch_size(torch.nn.Sequential(net), image, "cuda:0")))
    unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    assert [free - unused for free, _ in found] == [80 * 2**30, 20 * 2**30, 5 * 2**30]
    assert [size for _, size in found] == [1024, 512, 128]  # a third of 80, 20 and 5 GiB holds 2275, 568 and 142


def spectrum(n_steps: int) -> tuple[Tensor, Tensor, float, float]:
    """Return Ritz values, a Ritz vector, and the largest and final bytes per weight that Lanczos held on the GPU."""
    context = measure_context("cuda", "convolutional", 4)
    torch.manual_seed(0)
    wide = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 300), torch.nn.Tanh(), torch.nn.Linear(300, 10))
    context.network = wide.requires_grad_(False).to("cuda")  # with many more weights than activations
    hessian = LossHessian(context, "clean", list(context.parameters), 4)
    hessian.products([context.parameters])  # the graph that is kept between products, and all shared work
    WeightNoise(context.parameters, 0, "test")[0]  # the table of quantiles
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    before = MEMORY.allocated
    found = lanczos(hessian, "test", n_steps)
    assert len(found.ritz) == n_steps
    held = [(size - before) / hessian.size for size in (torch.cuda.max_memory_allocated(), MEMORY.allocated)]
    return found.ritz, found.vector(torch.ones(n_steps, dtype=torch.float64)).cpu(), *held


def test_lanczos_holds_one_vector_of_four_bytes_a_weight_per_step() -> None:
    _, _, most, kept = spectrum(20)
    assert most < 20 * 4 + 40
    assert kept < 20 * 4 + 10


def test_lanczos_keeps_in_the_hosts_memory_what_the_gpu_has_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ritz, vector, _, _ = spectrum(20)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (0, 0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: torch.cuda.memory_allocated())
    again, other, most, kept = spectrum(20)
    assert torch.equal(ritz, again)
    assert torch.equal(vector, other)
    assert most < 45
    assert kept < 5


def test_nothing_as_large_as_the_network_is_kept_after_the_spectrum() -> None:
    context = measure_context("cuda", "convolutional", 4)
    evaluate(find_measure("average_ce"), context)
    WeightNoise(context.parameters, 0, "test")[0]
    gc.collect()
    before = MEMORY.allocated
    evaluate(find_measure("hess_lmax"), context)
    evaluate(find_measure("effective_dim"), context)
    gc.collect()
    assert MEMORY.allocated - before < sum(p.numel() for p in context.parameters.values())


# ---- work that starves a GPU -------------------------------------------------------------------------------------


def test_noise_on_weights_is_drawn_where_the_weights_are() -> None:
    weights = {"a": torch.zeros(5, 5, device="cuda"), "b": torch.zeros(5, device="cuda")}
    WeightNoise(weights, 0, "test")[0]  # the table of quantiles is copied to the device once
    with counting() as counts:
        found = WeightNoise(weights, 0, "test")[1]
    assert (counts.uploads, counts.synchronisations) == (0, 0)
    expected = WeightNoise({name: weight.cpu() for name, weight in weights.items()}, 0, "test")[1]
    assert all(same(expected[name], number) for name, number in found.items())


def issued(name: str, n: int) -> int:
    """Return how many operations a measure issues for n examples that fit into one batch."""
    context = measure_context("cuda", "convolutional", n)
    with counting() as counts:
        evaluate(find_measure(name), context)
    return counts.operations


PER_EXAMPLE = (
    "average_ce",
    "ece",
    "fisher_rao",
    "kl_divergence_pgd",
    "local_lip",
    "w_grad_norm_per_example",
    "x_grad_norm",
)


@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_a_measure_issues_no_more_operations_for_more_examples(name: str) -> None:
    assert issued(name, 12) == issued(name, 4)


def test_the_calibration_error_adds_in_a_fixed_order() -> None:
    context = measure_context("cuda", "convolutional", 4)
    with counting() as counts:
        evaluate(find_measure("ece"), context)
    assert counts.by_undetermined == {}


# ---- errors ------------------------------------------------------------------------------------------------------


def test_a_second_card_is_named_when_asked_for() -> None:
    from measurebench.compute.devices import choose_device, n_workers

    with pretended_gpu(n_devices=2):
        assert [choose_device("auto", index) for index in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
        assert n_workers("auto", "auto", 8) == 2
