"""A list of attacks as text, such as ``pgd:steps=50,restarts=5,autoattack``, without importing any of them."""

__all__ = ["names_code", "reference_parts", "split_references"]


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


def names_code(reference: str) -> bool:
    """Tell whether a reference names a function, not a registered attack with settings.

    >>> names_code("pgd:steps=50"), names_code("my_attacks:pgd"), names_code("my_attacks:pgd:steps=50")
    (False, True, True)
    """
    place, name, _ = reference_parts(reference)
    return bool(place and name and "=" not in name)


def reference_parts(reference: str) -> tuple[str, str, str]:
    """Split a reference into module or file, callable and settings; a file's path may hold colons.

    >>> reference_parts("my_attacks.py:pgd:steps=50")
    ('my_attacks.py', 'pgd', 'steps=50')
    """
    head, dot_py, tail = reference.partition(".py:")
    place, rest = (f"{head}.py", tail) if dot_py else reference.partition(":")[::2]
    name, _, settings = rest.partition(":")
    return place, name, settings
