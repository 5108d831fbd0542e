"""A large study with a simulated clock: the queue's real code keeps its workers busy."""

import pytest

from benchmarks.scheduling import played, study
from measurebench.engine.plan import Task
from measurebench.engine.scheduling.costs import CostModel
from measurebench.engine.scheduling.queue import BlockQueue
from measurebench.engine.scheduling.simulated import play
from tests.engine.scheduling.test_queue import block


@pytest.fixture(scope="module")
def large() -> tuple[list[Task], CostModel]:
    return study(1300, test_examples=1000)


@pytest.mark.parametrize("workers", [8, 64])
def test_workers_are_in_use_until_little_is_left_although_predictions_are_off(
    large: tuple[list[Task], CostModel], workers: int
) -> None:
    found = played(*large, workers, sigma=0.5)
    assert found.use >= 0.95
    assert found.efficiency >= 0.95
    assert found.n_loads <= 1300 + 10 * workers  # workers keep to their models


def test_the_use_of_a_run_that_is_known_beforehand() -> None:
    """Two blocks of 10 and 30 s on two workers: one is idle from 10 s on; at 28 s one twentieth of 40 s is left."""
    tasks = [block("a", "x"), block("b", "x", "y", "z")]
    queue = BlockQueue(tasks, workers=2)
    found = play(queue, 2, lambda task: 10.0 * len(task.pairs), lambda _: 0.0)
    assert (found.seconds, found.n_blocks, found.n_loads) == (30.0, 2, 0)
    assert found.use == pytest.approx((10 + 28) / (2 * 28))
    assert found.efficiency == pytest.approx(40 / 60)
