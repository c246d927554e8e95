import struct
import uuid

from images.vhd import settle

KEY = uuid.UUID("12345678-1234-5678-1234-567812345678")


def test_a_settled_footer_has_its_time_identity_and_checksum() -> None:
    footer = b"conectix" + bytes(range(56)) + b"\xaa" * 448
    settled = settle(footer, key=KEY, epoch=946684800 + 77)
    assert len(settled) == 512
    assert struct.unpack_from(">I", settled, 24) == (77,)
    assert settled[68:84] == KEY.bytes
    (checksum,) = struct.unpack_from(">I", settled, 64)
    # One's complement of the sum of all bytes but its own.
    assert checksum == ~(sum(settled) - sum(settled[64:68])) & 0xFFFFFFFF
    # All else is as it was.
    assert settled[:24] == footer[:24]
    assert settled[84:] == footer[84:]
