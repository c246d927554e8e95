"""Application level gateways on a pair of routers."""

from contextlib import ExitStack
from pathlib import Path

import ftp
from ftp import ACTIVE, fetched
from pair_lab import PairLab, document
from router_lab import WEB


def test_the_other_router_goes_on_with_it(pair: PairLab, tmp_path: Path) -> None:
    """The connection that tells of others is known to it; a new one has its helper there."""
    with ExitStack() as stack:
        stack.enter_context(ftp.ftp_server(pair["net"], tmp_path, address=WEB))
        pair.put(lambda name: {**document(name), "alg": {"ftp": {}}})
        session = ftp.Session(pair["vm1"], WEB, passive=True)
        stack.callback(session.close)
        assert session.fetch() == ftp.CONTENT
        pair.make_primary("r2")
        assert session.fetch() == ftp.CONTENT
        assert fetched(pair["vm1"], f"ftp://{WEB}/file", *ACTIVE)
        pair.make_primary("r1")
        assert session.fetch() == ftp.CONTENT
