import numpy as np
import pytest
import torch

from measurebench.measures.margins.collapse import NeuralCollapse, within_over_between
from measurebench.measures.network.features import features
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, network


def slow(vectors: np.ndarray, labels: np.ndarray) -> float:
    classes = np.unique(labels)
    means = np.stack([vectors[labels == c].mean(0) for c in classes])
    between = sum(np.outer(m - means.mean(0), m - means.mean(0)) for m in means) / len(classes)
    each = [vectors[i] - means[list(classes).index(labels[i])] for i in range(len(labels))]
    within = sum(np.outer(d, d) for d in each) / len(labels)
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / len(classes))


def test_it_is_the_trace_with_the_pseudoinverse() -> None:
    torch.manual_seed(0)
    labels = torch.arange(50) % 4
    vectors = torch.randn(50, 6, dtype=torch.float64) + torch.randn(4, 6, dtype=torch.float64)[labels]
    found = within_over_between(vectors, labels, 4)
    assert float(found) == pytest.approx(slow(vectors.numpy(), labels.numpy()), rel=1e-9)


def test_two_pairs_on_a_line_have_a_known_value() -> None:
    # within-class variance 1, means at 1 and 9: between-class variance 16, K = 2
    vectors = torch.tensor([[0.0], [2.0], [8.0], [10.0]], dtype=torch.float64)
    assert float(within_over_between(vectors, torch.tensor([0, 0, 1, 1]), 2)) == pytest.approx(1 / 32, rel=1e-12)


def test_collapsed_features_have_value_zero() -> None:
    vectors = torch.eye(3, dtype=torch.float64)[torch.arange(12) % 3]
    assert float(within_over_between(vectors, torch.arange(12) % 3, 3)) == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("kind", ["residual", "preactivation"])
def test_it_reads_the_features_of_a_network(kind: str) -> None:
    net = network(kind)
    here = context(net, *examples(net), batch_size=7)
    vectors = features(here, "clean")
    assert torch.allclose(net.linear(vectors), here.clean_logits, atol=1e-12)
    expected = slow(vectors.numpy(), here.labels.numpy())
    assert NeuralCollapse()(here).value == pytest.approx(expected, rel=1e-6)


def test_class_means_that_do_not_differ_have_no_value() -> None:
    net = network("wide")
    images, labels = examples(net)
    with pytest.raises(UndefinedMeasureError, match="do not differ"):
        NeuralCollapse()(context(net, images, torch.zeros_like(labels)))
