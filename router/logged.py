"""Rules that log: each has a chain of its own, which says what it decided and then decides it."""

from dataclasses import dataclass

LOG_GROUP = 1
"""Of nfnetlink_log."""


@dataclass(frozen=True, slots=True)
class Logged:
    chain: str
    title: str
    """Begins the line in the log: 127 characters at most (NF_LOG_PREFIXLEN)."""
    verdict: str
