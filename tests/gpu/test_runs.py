"""``measurebench run`` writes on the GPU the table that it writes on the CPU."""

from pathlib import Path

import numpy as np
import pytest

from measurebench import read_records, run
from measurebench.store.tables import read_table

MODELS = ["digits:resnet-at-10-b64-s0-last", "digits:plain-trades-10-b64-s0-last"]
MEASURES = "average_ce_pgd,x_grad_norm_pgd,w_grad_norm_pgd,log_prod_of_spec,average_flat"


@pytest.mark.filterwarnings("default")
def test_the_tables_agree(device: str, tmp_path: Path) -> None:
    tables = []
    for place in ("cpu", device):
        out = tmp_path / f"{len(tables)}"
        summary = run(
            MODELS,
            "digits",
            out,
            measures=MEASURES,
            attacks="pgd",
            device=place,
            workers=1,
            train_examples=100,
            test_examples=100,
        )
        assert summary.exit_status == 0
        tables.append(read_table(out).set_index("model_id"))
    plain, there = tables
    assert list(there.columns) == list(plain.columns)
    for name in [*MEASURES.split(","), "clean_accuracy_train", "clean_accuracy_test"]:
        np.testing.assert_allclose(there[name].astype(float), plain[name].astype(float), rtol=1e-2)
    for name in ("pgd_accuracy_train", "pgd_accuracy_test"):
        assert (there[name] - plain[name]).abs().max() <= 0.011
    assert set(there["config_digest"]) == set(plain["config_digest"])
    used = [{record.environment_digest for record in read_records(tmp_path / name)} for name in "01"]
    assert len(used[0] | used[1]) == (1 if device == "cpu" else 2)
