"""What lets connections in, as the packet filter has it in sets: those end that nothing lets in any more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Admission:
    """What the fields of a set's elements say of a connection, as conntrack has it from its first packet on:
    `source`, `destination`, `protocol`, `port` (the destination's), `icmp_type`, `icmp_code`, and for what a
    map leads to `reply_source`, `reply_port`, `reply_destination`: those of its answers. A field without a
    name says nothing. Sets of one group stand for one another."""

    group: str
    fields: tuple[str, ...]
    mapped: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    """What they say of a connection that the other end began; none: it says nothing of such."""
    others: tuple[str, ...] = ()
    """Networks that the end is in which no field names, the answers' or the source; none: any."""
    protocol: int | None = None
    """Of all its connections; None: any."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Connections that a group lets in without an element: those with this in these fields; all, without."""

    group: str
    field: str = ""
    value: str = ""
    further: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """An ordered list that connections meet at one of their ends: verdict maps, asked one after another.
    When elements come or go, or the gate becomes another one, what it lets in no more is ended."""

    name: str
    version: int
    """Of IP."""
    end: Literal["source", "destination", "reply_source"]
    """Where a connection comes from, or goes to, before or behind a translation of its destination."""
    networks: tuple[str, ...]
    apart: tuple[str, ...]
    """Networks within these that are elsewhere."""
    own: tuple[str, ...]
    """Addresses of the appliance's: connections to and from them don't meet the list."""
    lookups: tuple[tuple[str, tuple[str, ...]], ...]
    """Maps, and what the fields of their elements say, as an `Admission`'s do."""
    passing: frozenset[str | None]
    """Verdicts of elements that let a connection pass; None: that of a set's."""
    passes: bool
    """Whether one does that no element is about."""
    aside: tuple[tuple[str, str], ...] = ()
    """Fields, each with a network: connections with one of these don't meet the list, either."""
    exempt: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Nor do those with all of these, fields with what they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Users:
    """Remote users who may not all reach the same. Who has which address only shows as they come: a script
    then adds (network, address) to one of two sets, which also holds what it was told of others."""

    sets: tuple[str, str]
    """For IPv4 and IPv6."""
    reached: Mapping[str, tuple[str, ...]]
    """By user, networks as nft lists them."""
