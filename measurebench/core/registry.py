"""A typed registry of named things, which knows where each comes from and suggests near names for a misspelt one."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.origins import Origin, origin_of

__all__ = ["Registry", "T"]

T = TypeVar("T")
_SHOWN = 20  # names in a message: all statistics or attacks, but not 132 measures


class Registry(Generic[T]):
    """Named things of one kind, in order of registration.

    >>> numbers: Registry[int] = Registry("number")
    >>> numbers.add("one", 1)
    >>> numbers["one"], len(numbers), list(numbers)
    (1, 1, ['one'])
    >>> numbers["onne"]
    Traceback (most recent call last):
    measurebench.core.errors.BadInputError: number: expected one of 1 known names, got 'onne'; did you mean 'one'?
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._origins: dict[str, Origin] = {}

    def add(self, name: str, item: T, origin: Origin | None = None) -> None:
        """Register an item; its origin is that of its class or function, unless another is given.

        Raises BadInputError, which names both origins, where the name is taken.
        """
        origin = origin or origin_of(item)
        if name in self._items:
            raise BadInputError(
                f"{self.kind} {name!r} is registered twice: by {self._origins[name]} and by {origin}",
                hint="rename one of them",
            )
        self._items[name], self._origins[name] = item, origin

    def origin(self, name: str) -> Origin:
        """Return where the item of this name comes from. Raises BadInputError for an unknown name."""
        if name not in self._items:
            raise self._unknown(name)
        return self._origins[name]

    def defines(self, thing: Any) -> bool:
        """Tell whether an item is this very thing, an instance of it, or holds it in a field."""
        return any(
            thing is item or thing is type(item) or any(thing is value for value in _fields(item).values())
            for item in self._items.values()
        )

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            raise self._unknown(name)
        return self._items[name]

    def _unknown(self, name: str) -> BadInputError:
        hint = near_names(name, self._items) or self._known()
        return BadInputError(self.kind, f"one of {len(self._items)} known names", repr(name), hint)

    def _known(self) -> str:
        more = len(self._items) - _SHOWN
        return f"known: {', '.join(list(self._items)[:_SHOWN])}" + (f" and {more} more" if more > 0 else "")

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield names and items in order of registration."""
        return iter(self._items.items())

    def __len__(self) -> int:
        return len(self._items)


def _fields(item: Any) -> dict[str, Any]:
    return getattr(item, "__dict__", {})
