"""Margins, log-probabilities and entropies from the logits, computed once per kind of examples, in float64."""

import torch
import torch.nn.functional as F
from torch import Tensor

from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext
from measurebench.measures.uncertainty import OrderStatistic, order_statistic, percentile_rank
from measurebench.measures.value import UndefinedMeasureError

__all__ = [
    "GAMMA_LATEX",
    "MARGIN_LATEX",
    "entropies",
    "log_probabilities",
    "logit_margins",
    "margin_percentile",
    "margins",
    "probability_margins",
    "scale_margin",
]

MARGIN_LATEX = r"z_y - \max_{j \neq y} z_j"
# m_(k) is the k-th smallest of the n margins
GAMMA_LATEX = rf"\gamma = m_{{(k)}},\quad k = \max(1, \lfloor 0.1\, n \rfloor),\quad m = {MARGIN_LATEX}"


def margins(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the score of the label minus the largest other score, [n], for scores [n, K] and labels [n].

    A tie at the top gives 0. Raises UndefinedMeasureError for a single class.

    >>> margins(torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 2.0]]), torch.tensor([0, 1]))
    tensor([2., 0.])
    """
    if scores.shape[1] < 2:
        raise UndefinedMeasureError(f"a margin needs two classes or more, the network has {scores.shape[1]}")
    own = scores.gather(1, labels[:, None])[:, 0]
    return own - scores.scatter(1, labels[:, None], -torch.inf).amax(1)


def log_probabilities(context: MeasureContext, examples: Examples) -> Tensor:
    """Return the logarithm of the softmax of the logits, float64 [n, K]."""
    return context.shared(f"{examples} log probabilities", lambda: F.log_softmax(context.logits(examples).double(), 1))


def logit_margins(context: MeasureContext, examples: Examples) -> Tensor:
    """Return the logit margins z_y - max_{j != y} z_j, float64 [n]."""
    return context.shared(
        f"{examples} logit margins", lambda: margins(context.logits(examples).double(), context.labels)
    )


def probability_margins(context: MeasureContext, examples: Examples) -> Tensor:
    """Return the probability margins p_y - max_{j != y} p_j, float64 [n]."""
    return margins(log_probabilities(context, examples).exp(), context.labels)


def entropies(context: MeasureContext, examples: Examples) -> Tensor:
    """Return the entropy of each predicted distribution in nats, float64 [n]."""
    terms: Tensor = torch.special.entr(log_probabilities(context, examples).exp())
    return terms.sum(1)


def margin_percentile(context: MeasureContext, examples: Examples, percent: float) -> OrderStatistic:
    """Return the k-th smallest logit margin, k = max(1, floor(percent / 100 * n)), with its uncertainty."""
    found = logit_margins(context, examples)
    return order_statistic(found, percentile_rank(len(found), percent))


def scale_margin(context: MeasureContext, examples: Examples) -> OrderStatistic:
    """Return gamma, the 10th percentile of the logit margin.

    Raises UndefinedMeasureError if it is exactly zero.
    """
    gamma = margin_percentile(context, examples, 10)
    if gamma.value == 0:
        raise UndefinedMeasureError("the 10th percentile of the logit margin is zero, so it has no inverse")
    return gamma
