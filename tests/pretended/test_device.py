"""The pretended GPU itself: what it refuses, that it computes what a CPU computes, and that it counts right."""

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from tests.pretended import counting, pretended_gpu
from tests.pretended.memory import MEMORY

pytestmark = pytest.mark.usefixtures("gpu")
MIXED = "Expected all tensors to be on the same device"
GENERATOR = "device type for generator"


def there(*shape: int) -> Tensor:
    """Return numbers on the pretended GPU."""
    return torch.rand(*shape, device="cuda")


def here(*shape: int) -> Tensor:
    """Return numbers in ordinary memory."""
    return torch.rand(*shape)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a sum": (lambda: there(3) + here(3), MIXED),
    "a product": (lambda: there(2, 3) @ here(3, 2), MIXED),
    "a comparison": (lambda: there(3) == here(3), MIXED),
    "a concatenation": (lambda: torch.cat([there(3), here(3)]), MIXED),
    "a stack, of numbers too": (lambda: torch.stack([there(1)[0], here(1)[0]]), MIXED),
    "a product with a number": (lambda: there(2, 3) @ here(3, 1)[:, 0], MIXED),
    "a convolution": (lambda: F.conv2d(there(1, 1, 4, 4), here(1, 1, 3, 3)), MIXED),
    "a network left behind": (lambda: nn.Linear(3, 2)(there(1, 3)), MIXED),
    "images left behind": (lambda: nn.Linear(3, 2).to("cuda")(here(1, 3)), MIXED),
    "a loss": (lambda: F.cross_entropy(there(4, 3), torch.tensor([0, 1, 2, 0])), MIXED),
    "where": (lambda: torch.where(there(3) > 0, there(3), here(3)), MIXED),
    "a gather": (lambda: there(3, 3).gather(1, torch.zeros(3, 1, dtype=torch.int64)), MIXED),
    "an ordinary tensor indexed from the GPU": (lambda: here(3)[torch.tensor([0, 1], device="cuda")], MIXED),
    "an ordinary mask by one of the GPU": (lambda: here(3)[there(3) > 2], MIXED),
    "an ordinary tensor changed by one of the GPU": (lambda: here(3).add_(there(3)), MIXED),
    "an ordinary number changed by one of the GPU": (lambda: torch.tensor(1.0).add_(there(1)[0]), MIXED),
    "values assigned to a part": (lambda: there(3).index_put_((torch.tensor([0, 1]),), here(2)), MIXED),
    "what from_numpy read": (lambda: there(3) + torch.from_numpy(np.ones(3, dtype=np.float32)), MIXED),
    "what was made by an operation of ordinary tensors": (lambda: there(3) + here(3) * 2, MIXED),
    "equal": (lambda: torch.equal(there(3), here(3)), MIXED),
    "numpy": (lambda: there(3).numpy(), "can't convert cuda:0 device type tensor to numpy"),
    "asarray of numpy": (lambda: np.asarray(there(3)), "can't convert cuda:0 device type tensor to numpy"),
    "a CPU generator in place": (lambda: there(3).normal_(generator=torch.Generator()), GENERATOR),
    "a CPU generator of a factory": (lambda: torch.randn(3, generator=torch.Generator(), device="cuda"), GENERATOR),
    "a CPU generator of an order": (lambda: torch.randperm(3, generator=torch.Generator(), device="cuda"), GENERATOR),
    "a GPU generator on the CPU": (lambda: torch.rand(3, generator=torch.Generator("cuda")), GENERATOR),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_gpu_refuses_is_refused(name: str) -> None:
    action, message = REFUSED[name]
    with pytest.raises((RuntimeError, TypeError), match=message):
        action()


ALLOWED: dict[str, Callable[[], Tensor]] = {
    "a number of the host, as CUDA takes it": lambda: there(3) * torch.tensor(2.0),
    "a Python number": lambda: 2 - there(3),
    "an index of the host": lambda: there(3)[torch.tensor([0, 1])],
    "a copy between devices": lambda: there(3).copy_(here(3)),
    "a filling with a number of the host": lambda: there(3).masked_fill(there(3) > 2, torch.tensor(1.0)),
    "a GPU generator": lambda: torch.randn(3, generator=torch.Generator("cuda"), device="cuda"),
    "a GPU generator in place": lambda: there(3).uniform_(generator=torch.Generator(device="cuda:0")),
    "tensors that torch makes itself": lambda: F.one_hot(torch.tensor([0, 2], device="cuda"), 3) + there(2, 3),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_a_gpu_takes_is_taken_and_stays_there(name: str) -> None:
    assert ALLOWED[name]().device == torch.device("cuda", 0)


MADE: dict[str, Callable[[], Tensor]] = {
    "zeros": lambda: torch.zeros(2, 3, device="cuda:0"),
    "tensor": lambda: torch.tensor([1.0, 2.0], device="cuda"),
    "as_tensor": lambda: torch.as_tensor(np.ones(2), device=torch.device("cuda")),
    "arange": lambda: torch.arange(3, device="cuda"),
    "randperm": lambda: torch.randperm(3, device="cuda"),
    "zeros_like": lambda: torch.zeros_like(there(2)),
    "zeros_like with a device": lambda: torch.zeros_like(here(2), device="cuda"),
    "new_tensor": lambda: there(2).new_tensor([1.0]),
    "new_zeros": lambda: there(2).new_zeros(2),
    "to a device": lambda: here(2).to("cuda"),
    "to a device and type": lambda: here(2).to("cuda", torch.float64),
    "to another tensor": lambda: here(2).to(there(2)),
    "type_as": lambda: here(2).type_as(there(2)),
    "cuda": lambda: here(2).cuda(),
    "a parameter": lambda: nn.Parameter(there(2)),
    "a view": lambda: there(2, 3)[0],
    "a gradient": lambda: torch.autograd.grad((x := there(2).requires_grad_()).square().sum(), x)[0],
}


@pytest.mark.parametrize("name", MADE)
def test_tensors_made_for_the_gpu_lie_there(name: str) -> None:
    made = MADE[name]()
    assert made.is_cuda
    assert not made.cpu().is_cuda
    assert np.array_equal(
        made.detach().cpu().numpy(), np.asarray(made.tolist(), dtype=made.cpu().detach().numpy().dtype)
    )


def test_after_the_block_the_name_cuda_means_what_it_meant() -> None:
    before = torch.Tensor.__dict__.get("to")
    with pretended_gpu():
        assert torch.Tensor.__dict__["to"] is not None
    assert torch.Tensor.__dict__.get("to") is before


def network() -> nn.Module:
    """Return a small network with all that the shipped ones have: convolution, batch norm, pooling, a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 5)
    )


def step(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return what a training step and derivatives of higher order give."""
    net.train()
    found = {}
    F.cross_entropy(net(images), labels).backward()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            found[f"gradient of {name}"] = parameter.grad.clone()
            parameter -= 0.1 * parameter.grad
            parameter.grad = None
    net.eval()
    weights = dict(net.named_parameters())
    slopes = torch.autograd.grad(F.cross_entropy(net(images), labels), list(weights.values()), create_graph=True)
    squares = torch.stack([slope.square().sum() for slope in slopes]).sum()
    found |= {
        f"curvature of {n}": t for n, t in zip(weights, torch.autograd.grad(squares, weights.values()), strict=True)
    }
    detached = {name: parameter.detach() for name, parameter in weights.items()}

    def loss(values: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(net, values, (image[None],)), label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))(detached, images, labels)
    found |= {f"each gradient of {name}": value for name, value in each.items()}
    points = images.clone().requires_grad_(True)
    checkpoint(net, points, use_reentrant=False).square().sum().backward()
    return found | {"input gradient": points.grad, **{f"buffer {n}": b for n, b in net.named_buffers()}}


def test_a_step_and_higher_derivatives_agree_with_the_cpu_to_the_last_bit() -> None:
    images, labels = torch.rand(6, 1, 8, 8), torch.arange(6) % 5
    found = step(network().to("cuda"), images.to("cuda"), labels.to("cuda"))
    with torch.utils._python_dispatch._disable_current_modes():
        expected = step(network(), images, labels)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].is_cuda
        assert torch.equal(found[name].cpu(), value), name


def test_parameters_keep_their_identity_and_their_ties_when_they_move() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    weight = net[0].weight
    net.to("cuda")
    assert net[0].weight is weight
    assert net[1].weight is weight
    assert isinstance(weight, nn.Parameter)
    assert weight.is_cuda
    assert net.double()[0].weight is weight
    assert weight.dtype == torch.float64
    assert not net.cpu()[0].weight.is_cuda


def test_a_copy_of_a_network_is_its_own() -> None:
    net = network().to("cuda")
    other = copy.deepcopy(net)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    assert len(list(other.parameters())) == len(list(net.parameters()))
    assert not torch.equal(next(other.parameters()), next(net.parameters()))


def test_a_state_is_saved_without_its_device_and_loaded_onto_the_one_asked_for() -> None:
    net, buffer = network().to("cuda"), io.BytesIO()
    torch.save(net.state_dict(), buffer)
    for device in ("cpu", "cuda"):
        buffer.seek(0)
        state = torch.load(buffer, map_location=device, weights_only=True)
        assert {tensor.device.type for tensor in state.values()} == {device}
    net.load_state_dict(state)


def test_an_upload_and_a_download_are_copies() -> None:
    ordinary = torch.zeros(3)
    moved = ordinary.to("cuda")
    moved += 1
    back = moved.cpu()
    back += 1
    assert (ordinary.tolist(), moved.tolist(), back.tolist()) == ([0.0] * 3, [1.0] * 3, [2.0] * 3)


def test_gradients_flow_through_moves_between_devices() -> None:
    weight = torch.tensor([2.0], requires_grad=True)
    (weight.to("cuda") * 3).cpu().sum().backward()
    assert weight.grad is not None
    assert not weight.grad.is_cuda
    assert weight.grad.tolist() == [3.0]


def newton(start: Tensor) -> Tensor:
    """Five steps of three operations, one of which the host reads: five synchronisations."""
    point = start
    for _ in range(5):
        move = (point * point - 2) / (2 * point)  # four operations
        point = point - move
        if float(move) == 0:
            break
    return point


def test_operations_and_synchronisations_of_a_loop_are_counted() -> None:
    start = torch.tensor(1.0, device="cuda")
    with counting() as counts:
        newton(start)
    assert counts.operations == 5 * 5
    assert counts.by_synchronisation == {"item": 5}
    assert counts.uploads == 0


SYNCHRONISING: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "bool": lambda x: bool(x[0] > 0),
    "if": lambda x: 1 if x.any() else 0,
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "tolist": lambda x: x.tolist(),
    "nonzero": lambda x: x.nonzero(),
    "a mask": lambda x: x[x > 0],
    "a masked assignment": lambda x: x.index_put_((x > 0,), x[:1].clone().expand(3)),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x),
    "a number in a tensor of the host": lambda x: torch.tensor([x[0], 1.0]),
    "a copy into the host": lambda x: torch.zeros(3).copy_(x),
    "synchronize": lambda _: torch.cuda.synchronize(),
    "eigenvalues": lambda x: torch.linalg.eigvalsh(torch.diag(x)),
}


@pytest.mark.parametrize("name", SYNCHRONISING)
def test_what_makes_the_host_wait_counts_once(name: str) -> None:
    numbers = torch.tensor([1.0, 2.0, 3.0], device="cuda")
    with counting() as counts:
        SYNCHRONISING[name](numbers)
    assert counts.synchronisations == 1


def test_views_are_no_operations_and_ordinary_tensors_do_not_count() -> None:
    numbers = there(4)
    with counting() as counts:
        numbers.view(2, 2).T[0].detach().unsqueeze(0)
        here(3) + here(3)
    assert (counts.operations, counts.synchronisations, counts.uploads) == (0, 0, 0)


def test_uploads_count_one_by_one() -> None:
    with counting() as counts:
        here(3).to("cuda")
        torch.tensor([1.0], device="cuda")
        there(3)[torch.tensor([0])]
        there(3).copy_(here(3))
        there(3).to("cuda")
    assert counts.by_upload == {"to": 1, "tensor": 1, "index": 1, "copy_": 1}


def test_blocks_of_counts_lie_within_each_other() -> None:
    with counting() as outer:
        there(2)
        with counting() as inner:
            there(2)
    assert (outer.operations, inner.operations) == (2, 1)


def test_products_of_fewer_digits_are_noted() -> None:
    net = network().to("cuda").eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.cudnn, "allow_tf32", True)
        with counting() as counts:
            net(there(1, 1, 8, 8))
            net.double()(there(1, 1, 8, 8).double())
        assert counts.by_reduced == {"convolution": 1}
        patch.setattr(torch.backends.cudnn, "allow_tf32", False)
        with counting() as counts, torch.autocast("cuda", torch.bfloat16):
            network().to("cuda").eval()(there(1, 1, 8, 8))
        assert counts.by_reduced == {"convolution": 1, "addmm": 1}


def test_sums_in_no_fixed_order_are_noted_where_several_numbers_meet() -> None:
    twice, once = (torch.tensor(places, device="cuda") for places in ([0, 0], [0, 1]))
    with counting() as counts:
        torch.zeros(3, device="cuda").index_add(0, twice, there(2))
        torch.zeros(3, device="cuda").scatter_add_(0, twice, there(2))
        there(3).sum()
        assert counts.by_undetermined == {"index_add": 1, "scatter_add_": 1}
        torch.zeros(3, device="cuda").index_add(0, once, there(2))
        torch.zeros(3, device="cuda").scatter_add_(0, once, there(2))
    assert counts.by_undetermined == {"index_add": 1, "scatter_add_": 1}


def test_memory_is_that_of_the_tensors_that_live() -> None:
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    kept = torch.zeros(100, device="cuda")
    assert torch.cuda.memory_allocated() - before == 400
    view = kept[:10]
    del kept
    assert torch.cuda.memory_allocated() - before == 400
    torch.zeros(50, device="cuda")
    del view
    assert torch.cuda.memory_allocated() == before
    assert torch.cuda.max_memory_allocated() - before == 600


def test_memory_ends_at_its_limit() -> None:
    with MEMORY.limited(400):
        kept = torch.zeros(60, device="cuda")
        with pytest.raises(torch.OutOfMemoryError):
            kept * 2
        assert len(kept) == 60
    assert len(kept * 2) == 60
