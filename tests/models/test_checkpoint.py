"""Files that are no checkpoint, or a hostile one: each is refused with a message that says what it is."""

from pathlib import Path

import pytest
import torch

from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.models.checkpoint import read_checkpoint
from measurebench.models.loading import load_model
from tests.models.checkpoints import ARCHITECTURE_FILE, hostile_files, saved, state

NAMES = sorted(hostile_files(Path("nowhere")))


def test_corpus_holds_at_least_forty_files() -> None:
    assert len(NAMES) >= 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "nets.py").write_text(ARCHITECTURE_FILE)
    for name, (content, _) in hostile_files(folder / "canary").items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_hostile_file_is_refused_in_plain_words_and_runs_nothing(name: str, corpus: Path) -> None:
    expected_word = hostile_files(corpus / "canary")[name][1]
    with pytest.raises(MeasurebenchError) as caught:
        load_model(str(corpus / name), architecture=str(corpus / "nets.py") + ":small", normalization="none")
    message = str(caught.value)
    assert expected_word in message
    assert name in message
    assert "expected" in message
    assert "got" in message
    assert "\n" not in message
    assert "Traceback" not in message
    assert caught.value.exit_status == 2
    assert not (corpus / "canary").exists()


def test_canary_would_sing_if_a_pickle_were_run(tmp_path: Path) -> None:
    content = hostile_files(tmp_path / "canary")["canary.pt"][0]
    (tmp_path / "canary.pt").write_bytes(content)
    read_checkpoint(tmp_path / "canary.pt", allow_pickle=True)
    assert (tmp_path / "canary").exists()


def test_missing_file_folder_and_wrong_hash_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such file"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(BadInputError, match="a folder"):
        read_checkpoint(tmp_path)
    (tmp_path / "good.pt").write_bytes(saved(state()))
    with pytest.raises(BadInputError, match="has it been replaced or cut short"):
        read_checkpoint(tmp_path / "good.pt", sha256="0" * 64)


def test_numpy_scalars_and_namespaces_are_harmless(tmp_path: Path) -> None:
    import argparse

    import numpy as np

    content = {
        "state_dict": state(),
        "accuracy": np.float64(0.93),
        "history": np.arange(3.0),
        "args": argparse.Namespace(lr=0.1),
    }
    for legacy in (False, True):
        (tmp_path / "x.pt").write_bytes(saved(content, legacy))
        found = read_checkpoint(tmp_path / "x.pt").content
        assert found["accuracy"] == pytest.approx(0.93)
        assert found["args"].lr == 0.1
        assert torch.equal(found["state_dict"]["fc.bias"], state()["fc.bias"])


def test_flipped_weights_in_a_torch_archive_are_refused(tmp_path: Path) -> None:
    """torch's own reader does not compare the checksums of its archive."""
    weights = torch.rand(30, 40)
    torch.save({"weight": weights}, tmp_path / "net.pt")
    content = bytearray((tmp_path / "net.pt").read_bytes())
    content[bytes(content).index(weights.numpy().tobytes()) + 400] ^= 8
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(BadInputError, match=r"a whole checkpoint, got the checksum of .* does not match"):
        read_checkpoint(tmp_path / "net.pt")
