"""Queues on links: what packets wait in before they leave."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queue:
    """A class of HTB (tc-htb(8)), in bytes per second: what it has whatever the others want, and what it
    gets at most where its parent has some left."""

    rate: int
    ceiling: int
    burst: int
    """Bytes that may leave at the link's own speed after a pause."""
    parent: int = 0
    """The number of the class that it borrows from; 0: of none."""
    leaf: bool = True
    """Whether packets wait in it: by flow (tc-fq_codel(8)), where the kernel can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shaping:
    """What leaves by a link waits in the queue whose class (`QUEUES` and its number) is the packet's
    priority; all else leaves at once. Without HTB in the kernel there are no queues, and no link is in a
    Ruleset's set `queued`."""

    link: str
    queues: Mapping[int, Queue]
    """By number, 1 to 0xfffe."""


QUEUES = 0x5359
"""The number of our HTB on a link, the first half of a class's name (`5359:800`)."""
QUEUED = "queued"
"""The set of links that have one."""
