"""A network namespace of a test's own: the calling thread is in it for as long as the test lasts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pyroute2 import netns

NAME = f"unt{os.getpid() % 10**9}"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@contextmanager
def entered(name: str = NAME) -> Iterator[None]:
    """Sockets opened, and processes started, from here on are in a fresh namespace."""
    netns.create(name)
    try:
        with within(name):
            yield
    finally:
        netns.remove(name)


@contextmanager
def within(name: str) -> Iterator[None]:
    """The same in one that is there. What was opened in it stays in it afterwards."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        netns.setns(name)
        yield
    finally:
        netns.setns(before)
        os.close(before)
