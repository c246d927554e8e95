"""Elements of nft sets in the form that nft lists them, and the union of overlapping ones.

The kernel refuses an element that overlaps another in part, so rules that overlap are cut into pieces
that don't.
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


def union(boxes: Iterable[Box]) -> Iterator[Box]:
    """Boxes without overlap that cover the same. Linear (but for sorting) where nothing overlaps."""
    boxes = list(set(boxes))
    if boxes:
        yield from _union(boxes, tuple(range(len(boxes[0]))))


def _union(boxes: Sequence[Box], dimensions: Sequence[int]) -> Iterator[Box]:
    """`dimensions` are those in which the boxes have not been found apart yet."""
    if len(boxes) == 1:
        yield boxes[0]
        return
    for dimension in dimensions:
        clusters = list(_clusters(boxes, dimension))
        if len(clusters) > 1:
            for cluster in clusters:
                yield from _union(cluster, range(len(boxes[0])) if len(cluster) > 1 else ())
            return
    yield from _cut(boxes, 0)


def _clusters(boxes: Sequence[Box], dimension: int) -> Iterator[list[Box]]:
    """Groups that don't touch one another in one dimension."""
    cluster: list[Box] = []
    end = -1
    for box in sorted(boxes, key=lambda box: box[dimension]):
        if cluster and box[dimension][0] > end:
            yield cluster
            cluster = []
        cluster.append(box)
        end = max(end, box[dimension][1])
    yield cluster


def _cut(boxes: Sequence[Box], dimension: int) -> Iterator[Box]:
    """Slabs between all the boxes' ends in this dimension, each cut further in the next."""
    if dimension == len(boxes[0]) - 1:
        for cluster in _clusters(boxes, dimension):
            first, last = cluster[0][dimension][0], max(box[dimension][1] for box in cluster)
            yield (*cluster[0][:dimension], (first, last))
        return
    ends = sorted({box[dimension][0] for box in boxes} | {box[dimension][1] + 1 for box in boxes})
    for first, after in pairwise(ends):
        slab = [
            (*box[:dimension], (first, after - 1), *box[dimension + 1 :])
            for box in boxes
            if box[dimension][0] <= first and box[dimension][1] >= after - 1
        ]
        if slab:
            yield from _cut(slab, dimension + 1)
