"""The probe's bytes: well formed, known again, and read back as what was asked about."""

import pytest

from appliance.agent.packet import (
    Packet,
    _checksum,
    _pseudo_header,
    answer_match,
    built,
    mark_match,
    number,
    read,
)

MARK = 0xDEADBEEF
PACKETS = [
    Packet("10.1.1.10", "198.51.100.7", 6, 61000, 80),
    Packet("10.1.1.10", "198.51.100.7", 17, 61000, 53),
    Packet("10.1.1.10", "198.51.100.7", 1, icmp_type=8),
    Packet("10.1.1.10", "198.51.100.7", 47),
    Packet("fd00::1", "2001:db8::7", 6, 61000, 443),
    Packet("fd00::1", "2001:db8::7", 17, 61000, 53),
    Packet("fd00::1", "2001:db8::7", 58, icmp_type=128),
]


@pytest.mark.parametrize("packet", PACKETS, ids=str)
def test_what_is_built_reads_back(packet: Packet) -> None:
    content = built(packet, mark=MARK)
    length = 20 if packet.version == 4 else 40
    assert read(content[:length], content[length:]) == packet
    if packet.version == 4:
        assert _checksum(content[:20]) == 0
        assert int.from_bytes(content[2:4], "big") == len(content)
    else:
        assert int.from_bytes(content[4:6], "big") == len(content) - 40
    before = b"" if packet.protocol == 1 else _pseudo_header(packet, len(content) - length)
    if packet.protocol != 47:
        assert _checksum(before + content[length:]) == 0
    assert MARK.to_bytes(4, "big") in content[length:]


def test_too_little_of_a_header_is_no_packet() -> None:
    content = built(PACKETS[0], mark=MARK)
    assert read(b"", b"") is None
    assert read(content[:19], b"") is None
    assert read(b"\x60" + bytes(30), b"") is None


@pytest.mark.parametrize("packet", PACKETS, ids=str)
def test_what_nft_looks_for_is_numbers_and_addresses(packet: Packet) -> None:
    for line in (mark_match(packet, MARK), *answer_match(packet, MARK)):
        assert "\n" not in line and '"' not in line and ";" not in line


def test_protocols_have_numbers() -> None:
    assert (number("icmp", version=4), number("icmp", version=6)) == (1, 58)
    assert (number("tcp", version=4), number(47, version=4)) == (6, 47)
