import hashlib
from pathlib import Path

import numpy as np
import pytest

from measurebench.core.digests import digest_array, digest_file, digest_json, seed_from


def test_a_json_digest_is_the_sha256_of_sorted_keys_without_spaces() -> None:
    assert digest_json({"b": [1, 2], "a": "x"}) == hashlib.sha256(b'{"a":"x","b":[1,2]}').hexdigest()[:16]


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest_json(float("nan"))


def test_a_file_s_digest_is_its_sha256_however_long_it_is(tmp_path: Path) -> None:
    content = b"0123456789" * 200_000  # more than one chunk
    (tmp_path / "file").write_bytes(content)
    assert digest_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_an_array_s_digest_tells_type_shape_and_values_apart_but_not_memory_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    others = [array.astype(np.float64), array.reshape(3, 2), array + 1]
    assert len({digest_array(a) for a in (array, *others)}) == 4
    assert digest_array(np.asfortranarray(array)) == digest_array(array)


def test_seeds_are_63_bits_and_differ_by_every_part() -> None:
    seeds = [seed_from("noise", i) for i in range(50)] + [seed_from("noise"), seed_from("noise", "0")]
    assert len(set(seeds)) == 52
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_from("noise", 1) == int(hashlib.sha256(b'["noise",1]').hexdigest()[:16], 16) >> 1
