import torch

from measurebench.attacks.standard import StandardSettings
from measurebench.attacks.standard.passes import Passes
from measurebench.attacks.standard.search_base import begun
from measurebench.attacks.standard.searches import search_for
from measurebench.core.threat import ThreatModel
from tests.attacks.standard.stock import examples, small_network


def test_a_row_that_ended_at_its_last_step_may_wait_beside_one_that_goes_on():
    network = small_network()
    images, labels = examples(network, 2)
    settings = StandardSettings(apgd_steps=3)

    def advanced(rows: slice, ended: list[bool]) -> dict[str, torch.Tensor]:
        search = search_for("apgd-ce", Passes(network, 8), ThreatModel.parse("Linf", 0.05), settings, 0, None)
        n = torch.arange(2)[rows]
        state = search.start(begun(images[rows], labels[rows], labels[rows], 7 + n, n, torch.zeros_like(n)))
        over = torch.tensor(ended)
        state |= {"done": over, "passes": torch.where(over, settings.apgd_steps, state["passes"])}
        return search.advance(state)

    beside, alone = advanced(slice(0, 2), [True, False]), advanced(slice(1, 2), [False])
    assert beside["done"].tolist() == [True, False]
    assert torch.equal(beside["point"][1:], alone["point"])
    assert torch.equal(beside["passes"][1:], alone["passes"])
