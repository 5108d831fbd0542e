"""A typed registry with near-name hints; the only way in is the decorator beside the definition."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from measurebench.core.errors import BadInputError, near_names

__all__ = ["Registry", "T"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind, in order of registration."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> None:
        """Register an item; a name is taken once."""
        if name in self._items:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._items[name] = item

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            hint = near_names(name, self._items) or f"known: {', '.join(self._items)}"
            raise BadInputError(self.kind, f"one of {len(self._items)} known names", repr(name), hint)
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield names and items in order of registration."""
        return iter(self._items.items())

    def __len__(self) -> int:
        return len(self._items)
