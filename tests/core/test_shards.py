import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.shards import parse_shard, part


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_share_a_list_without_overlap(count: int) -> None:
    parts = [part(range(7), f"{index}/{count}") for index in range(1, count + 1)]
    assert sorted(item for chosen in parts for item in chosen) == list(range(7))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2", "1 / 2", "²/3", "1/" + "9" * 5000]
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="I/N with 1 <= I <= N, such as 1/4"):
        parse_shard(text)


def test_an_empty_shard_is_refused() -> None:
    with pytest.raises(BadInputError, match="--shard: expected at most 5 parts, got '6/8'; only 5 to split"):
        part("abcde", "6/8", "--shard")
