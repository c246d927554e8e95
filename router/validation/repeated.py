"""Values that must be different."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")


def repeated(values: Mapping[K, str]) -> Iterator[tuple[K, K, str]]:
    """Each key whose value another one before it has: the key, that other one, the value."""
    if len(set(values.values())) == len(values):
        return
    first: dict[str, K] = {}
    for key, value in values.items():
        if value in first:
            yield key, first[value], value
        first[value] = key
