"""Elements of nft sets in the form that nft lists them, and the parts of overlapping ones.

The kernel refuses an element that overlaps another in part, so rules that overlap are cut into pieces
that don't; each is of the same rules all over, so that what it counts is theirs.
"""

import ipaddress
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

Elements = dict[str, dict[str, str | None]]
"""Set -> element -> mapped value, None in a plain set."""

Span = tuple[int, int]
"""First and last value, both included."""
Box = tuple[Span, ...]
"""A span in each dimension: sources, destinations, ports, ..."""

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}
"""Numbers, for the names are in a file that a small image may lack."""
ALL_ADDRESSES: Mapping[int, Span] = {4: (0, 2**32 - 1), 6: (0, 2**128 - 1)}
"""By the version of IP."""
ALL_PORTS: Span = (0, 65535)
CROWD = 500
"""So many elements may have their ports in common in the sets that begin with them: the kernel compares what
shares its first field with all the others that share it. A crowd is in a set of its own, which begins with
the far address."""


def span_text(first: int, last: int, version: int = 4) -> str:
    """A span of addresses as nft lists it: address, prefix, or range."""
    text, width = (_dotted, 32) if version == 4 else (_colons, 128)
    size = last - first + 1
    if size == 1:
        return text(first)
    if size & (size - 1) == 0 and first % size == 0:
        return f"{text(first)}/{width - size.bit_length() + 1}"
    return f"{text(first)}-{text(last)}"


def collapsed(networks: Iterable[str]) -> list[str]:
    """CIDRs of one family without overlap, which nft refuses in one set."""
    parsed = [ipaddress.ip_network(network) for network in networks]
    return [str(network) for network in ipaddress.collapse_addresses(parsed)]  # type: ignore[type-var]


def number_text(first: int, last: int) -> str:
    """A span of ports, types or protocol numbers as nft lists it."""
    return str(first) if first == last else f"{first}-{last}"


def _dotted(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def _colons(address: int) -> str:
    return socket.inet_ntop(socket.AF_INET6, address.to_bytes(16, "big"))


def meets(box: Box, boxes: Iterable[Box]) -> bool:
    """Whether a box overlaps one of these."""
    # The last dimension, the ports, is what mostly tells them apart.
    first, last = box[-1]
    near = [other for other in boxes if other[-1][0] <= last and other[-1][1] >= first]
    return any(all(a[0] <= b[1] and b[0] <= a[1] for a, b in zip(box, other, strict=True)) for other in near)


def parts(boxes: Iterable[Box]) -> Iterator[tuple[Box, tuple[Box, ...]]]:
    """Boxes without overlap, each with those of the given that it is a part of. Linear, but for sorting,
    where nothing overlaps."""
    whole = [(box, box) for box in set(boxes)]
    if whole:
        yield from _parts(whole, tuple(range(len(whole[0][0]))))


_Cut = tuple[Box, Box]
"""A part, and the box that it is of."""


def _parts(cuts: Sequence[_Cut], dimensions: Sequence[int]) -> Iterator[tuple[Box, tuple[Box, ...]]]:
    """`dimensions` are those in which the boxes have not been found apart yet."""
    if len(cuts) == 1:
        yield cuts[0][0], (cuts[0][1],)
        return
    for dimension in dimensions:
        clusters = list(_clusters(cuts, dimension))
        if len(clusters) > 1:
            for cluster in clusters:
                yield from _parts(cluster, range(len(cuts[0][0])) if len(cluster) > 1 else ())
            return
    yield from _cut(cuts, 0)


def _clusters(cuts: Sequence[_Cut], dimension: int) -> Iterator[list[_Cut]]:
    """Groups that don't touch one another in one dimension."""
    cluster: list[_Cut] = []
    end = -1
    for cut in sorted(cuts, key=lambda cut: cut[0][dimension]):
        first, last = cut[0][dimension]
        if cluster and first > end:
            yield cluster
            cluster = []
        cluster.append(cut)
        end = max(end, last)
    yield cluster


def _cut(cuts: Sequence[_Cut], dimension: int) -> Iterator[tuple[Box, tuple[Box, ...]]]:
    """Slabs between all the boxes' ends in this dimension, each cut further in the next."""
    if dimension == len(cuts[0][0]):
        yield cuts[0][0], tuple(whole for _, whole in cuts)
        return
    spans = [box[dimension] for box, _ in cuts]
    ends = sorted({first for first, _ in spans} | {last + 1 for _, last in spans})
    for first, after in pairwise(ends):
        slab = [
            ((*box[:dimension], (first, after - 1), *box[dimension + 1 :]), whole)
            for box, whole in cuts
            if box[dimension][0] <= first and box[dimension][1] >= after - 1
        ]
        if slab:
            yield from _cut(slab, dimension + 1)
