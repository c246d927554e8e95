"""Documents in, files and rulesets out: the examples of docs/examples, and what they mean."""

import shutil
import subprocess
from pathlib import Path

import pytest
from nftables import Nftables

from appliance import rendering
from appliance.engine import checker
from appliance.resources import File, Records, Ruleset
from appliance.roles import resources
from tests.examples import ALL, any_document
from tests.namespace import entered, needs_root

DIRECTORY = Path(__file__).parent


def compare(path: Path, text: str, *, update: bool) -> None:
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} is not what the document means; see `make golden`"


@pytest.mark.parametrize("name", ALL)
def test_machine_state(name: str, update: bool) -> None:
    """All but the ruleset, which has a listing of its own."""
    state = [item for item in resources(any_document(name)) if not isinstance(item, Ruleset)]
    text = "".join(piece.rstrip("\n") + "\n" for piece in rendering.pieces(state))
    assert "only an example" not in text, "a password is in no rendering"
    compare(DIRECTORY / name / "state.txt", text, update=update)


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("name", ALL)
def test_ruleset(name: str, update: bool) -> None:
    """What the kernel lists once it has the tables, as nft(8) prints it."""
    with entered():
        nft = Nftables()
        nft.set_numeric_proto_output(True)
        nft.set_numeric_symbol_output(True)
        for ruleset in [item for item in resources(any_document(name)) if isinstance(item, Ruleset)]:
            code, _, error = nft.cmd(rendering.ruleset_text(ruleset))
            assert code == 0, error
        code, listing, error = nft.cmd("list ruleset")
        assert code == 0, error
    compare(DIRECTORY / name / "ruleset.nft", listing, update=update)


@pytest.mark.parametrize("name", ALL)
def test_daemons_take_their_files(name: str) -> None:
    """Each file that has a checker passes it, as the engine asks it. What isn't installed here asks in an
    appliance: no document is applied there without."""
    state = [
        item for item in resources(any_document(name)) if isinstance(item, File | Records) and item.check
    ]
    asked = [item for item in state if shutil.which(item.check[0])]
    if state and not asked:
        pytest.skip("none of the daemons is installed")
    for item in asked:
        if isinstance(item, File):
            checker._check_file(item.path, item.content, item.check)
        else:
            content = "".join(f"{item.check_prefix}{line}\n" for line in item.records.values())
            checker._check_file(item.path, content, item.check)


@pytest.mark.skipif(shutil.which("dnsmasq") is None, reason="dnsmasq is not installed")
def test_the_checker_refuses(tmp_path: Path) -> None:
    """The check above is one: dnsmasq knows no such directive."""
    (tmp_path / "conf").write_text("no-such-directive\n")
    refused = subprocess.run(["dnsmasq", "--test", f"--conf-file={tmp_path / 'conf'}"], capture_output=True)
    assert refused.returncode != 0


def test_every_expectation_has_its_document() -> None:
    assert sorted(path.parent.name for path in DIRECTORY.glob("*/state.txt")) == ALL
