import pytest


@pytest.fixture
def short_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoAttack with few steps: what is tested holds for any number of them, and the full ones take minutes."""
    from pyautoattack import AutoAttack

    original = AutoAttack.run_standard_evaluation

    def short(self: object, *arguments: object, **named: object) -> object:
        self.apgd.n_iter = self.apgd_targeted.n_iter = 20
        self.fab.n_iter = 5
        self.square.n_queries = 20
        return original(self, *arguments, **named)

    monkeypatch.setattr(AutoAttack, "run_standard_evaluation", short)
