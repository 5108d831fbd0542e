"""A list of attacks as text, such as ``pgd:steps=50,restarts=5,autoattack``, without importing any of them."""

__all__ = ["split_references"]


def split_references(text: str) -> tuple[str, ...]:
    """Return the references of a comma-separated list, each once; ``none`` and the empty text have none.

    Commas also separate the settings of one attack: a part such as ``restarts=5`` belongs to the attack before it.

    >>> split_references("pgd:steps=50,restarts=5, autoattack,autoattack")
    ('pgd:steps=50,restarts=5', 'autoattack')
    >>> split_references("none")
    ()
    """
    found: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        name, equals, _ = part.partition("=")
        if found and equals and ":" not in name:
            found[-1] += f",{part}"
        elif part:
            found.append(part)
    unique = tuple(dict.fromkeys(found))
    return () if unique == ("none",) else unique
