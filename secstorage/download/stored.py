"""What the disk says to being written, told apart from what the network says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


class StoreError(Exception):
    """What the disk says to being written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def write(file: int, content: memoryview, at: int) -> None:
    """All of it, at its place in the file. Raises StoreError."""
    with stored():
        while content:
            count = os.pwrite(file, content, at)
            content, at = content[count:], at + count


@contextmanager
def stored() -> Iterator[None]:
    """An error here is no server's."""
    try:
        yield
    except OSError as error:
        raise StoreError(error) from None
