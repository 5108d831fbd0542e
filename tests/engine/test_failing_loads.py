"""Models that cannot be loaded cost no reading of the records of all others."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import measurebench
from measurebench.store.checked_lines import LineReader
from measurebench.store.journal import Journal


@pytest.mark.parametrize("n", [3, 12])
def test_records_are_read_as_often_for_many_failing_loads_as_for_few(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [f'[[model]]\nid = "m{i}"\nfile = "m{i}.pt"\narchitecture = "resnet-18"\n' for i in range(n)]
    for i in range(n):
        (tmp_path / f"m{i}.pt").write_bytes(b"damaged")
    (tmp_path / "models.toml").write_text("\n".join(entries))
    read: Counter[str] = Counter()
    whole = Journal.read

    def counted(journal: Journal) -> list[dict]:
        read[journal.path.name] += 1
        return whole(journal)

    monkeypatch.setattr(Journal, "read", counted)
    lines: list[bytes] = []
    read_line = LineReader.read

    def noted(reader: LineReader, line: bytes, number: int) -> Any:
        lines.extend([line] if b'"measure_version"' in line else [])
        return read_line(reader, line, number)

    monkeypatch.setattr(LineReader, "read", noted)
    options = {"measures": "num_params", "attacks": "none", "workers": 1}
    for _ in range(2):
        summary = measurebench.run(str(tmp_path), "digits", tmp_path / "out", **options)
        assert len(summary.unusable) == n
    assert len(lines) == 2 * n  # each record once by the run that made it, and once by the next
    assert read["models.jsonl"] <= 8
