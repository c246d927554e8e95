"""Elements of nft sets in the form that nft lists them."""

from router.union import Span

Elements = dict[str, dict[str, str | None]]
"""Set -> element -> mapped value, None in a plain set."""

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
"""Numbers, for the names are in a file that a small image may lack."""
ALL_ADDRESSES: Span = (0, 2**32 - 1)
ALL_PORTS: Span = (0, 65535)


def span_text(first: int, last: int) -> str:
    """A span of IPv4 addresses as nft lists it: address, prefix, or range."""
    size = last - first + 1
    if size == 1:
        return _dotted(first)
    if size & (size - 1) == 0 and first % size == 0:
        return f"{_dotted(first)}/{32 - size.bit_length() + 1}"
    return f"{_dotted(first)}-{_dotted(last)}"


def number_text(first: int, last: int) -> str:
    """A span of ports, types or protocol numbers as nft lists it."""
    return str(first) if first == last else f"{first}-{last}"


def _dotted(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"
