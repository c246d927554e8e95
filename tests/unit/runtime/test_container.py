from pathlib import Path

import pytest

from appliance.runtime.container import TUN, nspawn
from appliance.runtime.runtime import Bind, Machine


def following(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


def test_the_command_of_a_container(tmp_path: Path) -> None:
    machine = Machine(
        name="r1",
        image=Path("/trees/router"),
        boot=b'{"secret": 1}',
        binds=(Bind(source=Path("/a:b"), target="/mnt"),),
        files={"/etc/cloud/x.cfg": b"list: []"},
        environment={"SYSTEMD_LOG_LEVEL": "debug"},
    )
    argv = nspawn(machine, full="sysvm-dev-r1", place=tmp_path, state=Path("/state/r1"))
    assert following(argv, "--directory") == "/trees/router"
    assert following(argv, "--machine") == "sysvm-dev-r1"
    assert following(argv, "--hostname") == "r1"
    assert "--network-namespace-path=/run/netns/sysvm-dev-r1" in argv
    assert "--bind=/state/r1:/var/lib/sysvm" in argv
    assert "--bind-ro=/a\\:b:/mnt" in argv
    assert f"--bind-ro={tmp_path}/files/0:/etc/cloud/x.cfg" in argv
    assert (tmp_path / "files/0").read_bytes() == b"list: []"
    assert f"--load-credential=sysvm.boot:{tmp_path}/sysvm.boot" in argv
    assert "--setenv=SYSTEMD_LOG_LEVEL=debug" in argv


@pytest.mark.skipif(not TUN.is_char_device(), reason="this host makes no tunnels")
def test_it_may_make_tunnels(tmp_path: Path) -> None:
    argv = nspawn(Machine(name="r1", image=Path("/t")), full="sysvm-dev-r1", place=tmp_path)
    assert "--bind=/dev/net/tun:/dev/net/tun" in argv


def test_boot_data_is_for_root_only_and_on_no_command_line(tmp_path: Path) -> None:
    machine = Machine(name="r1", image=Path("/trees/router"), boot=b"PRIVATE KEY")
    argv = nspawn(machine, full="sysvm-dev-r1", place=tmp_path)
    assert (tmp_path / "sysvm.boot").stat().st_mode & 0o777 == 0o600
    assert not [word for word in argv if "PRIVATE" in word]
    assert "PRIVATE" not in repr(machine)


def test_a_machine_keeps_its_id_and_shares_it_with_none(tmp_path: Path) -> None:
    def identity(full: str) -> str:
        return following(nspawn(Machine(name="r1", image=Path("/t")), full=full, place=tmp_path), "--uuid")

    assert identity("sysvm-dev-r1") == identity("sysvm-dev-r1")
    assert identity("sysvm-dev-r1") != identity("sysvm-other-r1")
