import pytest

from measurebench.attacks.references import split_references


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("none", ()),
        (" pgd , autoattack,,pgd", ("pgd", "autoattack")),
        ("pgd:steps=50,restarts=5,autoattack", ("pgd:steps=50,restarts=5", "autoattack")),
        ("a.b:f:x=1,y=2,file.py:g:z=3", ("a.b:f:x=1,y=2", "file.py:g:z=3")),
        ("none,pgd", ("none", "pgd")),
        ("x=1,pgd", ("x=1", "pgd")),
    ],
)
def test_commas_separate_attacks_and_their_settings(text: str, expected: tuple[str, ...]) -> None:
    assert split_references(text) == expected
