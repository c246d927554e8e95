"""Real clients against the real service: the right guest gets its own, everybody else gets nothing."""

import base64
import ctypes
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from metadata_lab import ROOT, Lab, mac_of, record

pytestmark = pytest.mark.root
GATEWAY = "http://10.1.1.1"
LINK_LOCAL = "http://169.254.169.254"
SEND = ("-H", "DomU_Request: send_my_password")
ACKNOWLEDGE = ("-H", "DomU_Request: saved_password")


def test_a_guest_gets_its_own(served: Lab) -> None:
    served.base("guest0", [record(number) for number in range(10, 20)])
    guest = served.guest("guest0", 12)
    assert guest.curl(f"{GATEWAY}/latest/meta-data/instance-id") == (200, "i-12")
    assert guest.curl(f"{GATEWAY}/latest/local-hostname") == (200, "vm12.cs1.example")
    assert guest.curl(f"{GATEWAY}/latest/user-data") == (200, "#cloud-config\n# 12\n")
    assert guest.curl(f"{GATEWAY}/latest/meta-data/public-keys")[1].count("ssh-") == 2
    assert guest.curl(f"{LINK_LOCAL}/latest/meta-data/public-keys/") == (200, "0=key-0\n1=key-1")
    assert guest.curl(f"{LINK_LOCAL}/latest/meta-data/public-keys/1/openssh-key") == (200, "ssh-rsa AAAA b")
    assert guest.curl(f"{GATEWAY}/2009-04-04/meta-data/placement/availability-zone") == (200, "zone1")
    assert json.loads(guest.curl(f"{LINK_LOCAL}/openstack/latest/meta_data.json")[1])["uuid"] == "i-12"
    assert guest.curl(f"{GATEWAY}/nocloud/network-config") == (200, "")
    for leaf in guest.curl(f"{GATEWAY}/latest/meta-data/")[1].split("\n"):
        assert guest.curl(f"{GATEWAY}/latest/meta-data/{leaf}")[0] == 200
    assert guest.run("wget", "-q", "-O-", f"{GATEWAY}/latest/instance-id") == "i-12"
    head = guest.run("curl", "-sI", f"{GATEWAY}/latest/instance-id")
    assert head.startswith("HTTP/1.1 200 OK\nServer: sysvm\n") and "Content-Length: 4\n" in head
    assert guest.curl(f"{GATEWAY}/latest/instance-id", "--http1.0") == (200, "i-12")


def test_a_spoofer_gets_nothing(served: Lab) -> None:
    served.network("guest1")
    served.until(lambda: len(served.health().get("guest1", {}).get("listening", [])) == 3)
    served.add("guest0", 10)
    served.password("guest0", "10.1.1.10", "secret")
    other_mac = served.guest("guest0", 10, mac="02:00:00:00:99:99")
    unknown = served.guest("guest0", 11)
    elsewhere = served.guest("guest1", 10)
    for spoofer in (other_mac, unknown, elsewhere):
        for url in (GATEWAY, LINK_LOCAL):
            for path in ("/", "/latest/meta-data/", "/latest/user-data", "/openstack", "/nocloud/user-data",
                         "/2009-04-04/meta-data/instance-id", "/nothing"):  # fmt: skip
                assert spoofer.curl(url + path) == (404, "")
            assert spoofer.curl(f"{url}/latest/api/token", "-X", "PUT",
                                "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60") == (404, "")  # fmt: skip
        assert spoofer.curl(f"{GATEWAY}:8080/", *SEND) == (200, "saved_password")
        assert spoofer.curl(f"{GATEWAY}:8080/", *ACKNOWLEDGE) == (200, "saved_password")
    assert (served.passwords / "guest0" / "10.1.1.10").exists()


def test_a_guest_that_changes_its_mac_is_nobody_within_a_second(served: Lab) -> None:
    served.add("guest0", 10)
    guest = served.guest("guest0", 10)
    connection = in_namespace(guest.namespace, lambda: socket.create_connection(("10.1.1.1", 80), timeout=5))
    request = b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\n\r\n"
    connection.sendall(request)
    assert connection.recv(4096).endswith(b"\r\n\r\ni-10")
    guest.run("ip", "link", "set", "eth0", "address", "02:00:00:00:99:99")
    guest.run("ping", "-c1", "-W2", "10.1.1.1", check=False)
    guest.run("arping", "-U", "-c1", "-I", "eth0", guest.address, check=False)
    served.until(lambda: "99:99" in subprocess.run(
        ["ip", "-n", served.router, "neighbour", "show", guest.address],
        capture_output=True, text=True, check=True,
    ).stdout)  # fmt: skip
    time.sleep(1.1)
    connection.sendall(request)
    assert connection.recv(4096).startswith(b"HTTP/1.1 404 ")


def test_password_with_wget(served: Lab) -> None:
    served.add("guest0", 10)
    guest = served.guest("guest0", 10)
    wget = ("wget", "-q", "-t", "3", "-T", "20", "-O", "-")
    send = (*wget, "--header", SEND[1], f"{GATEWAY}:8080")
    acknowledge = (*wget, "--header", ACKNOWLEDGE[1], f"{GATEWAY}:8080")
    assert guest.run(*send) == "saved_password"
    path = served.password("guest0", guest.address, "pa ss#1")
    assert guest.run(*send) == "pa ss#1"
    assert guest.run(*send) == "pa ss#1"
    assert guest.run(*acknowledge) == "saved_password"
    assert not path.exists() and list(path.parent.iterdir()) == []
    assert guest.run(*send) == "saved_password"
    assert guest.curl(f"{GATEWAY}:8080") == (400, "bad_request")
    assert guest.run("curl", "-si", f"{GATEWAY}:8080").count("HTTP/1.1") == 1
    assert guest.curl(f"{GATEWAY}:8080", "-d", "ip=10.1.1.10&password=x") == (405, "")


def test_an_acknowledgement_is_only_for_what_was_sent(served: Lab) -> None:
    served.add("guest0", 10)
    guest = served.guest("guest0", 10)
    path = served.password("guest0", guest.address, "first")
    assert guest.curl(f"{GATEWAY}:8080", *ACKNOWLEDGE) == (200, "saved_password")
    assert path.read_text() == "first", "acknowledged before it was sent"
    assert guest.curl(f"{GATEWAY}:8080", *SEND) == (200, "first")
    served.password("guest0", guest.address, "newer")
    assert guest.curl(f"{GATEWAY}:8080", *ACKNOWLEDGE) == (200, "saved_password")
    assert path.read_text() == "newer"
    served.stop(signal.SIGKILL)
    served.start()
    assert guest.curl(f"{GATEWAY}:8080", *SEND) == (200, "newer")
    assert guest.curl(f"{GATEWAY}:8080", *ACKNOWLEDGE) == (200, "saved_password")
    assert not path.exists()


def test_tokens(lab: Lab) -> None:
    lab.network("guest0", tokens="required")
    lab.start()
    lab.add("guest0", 10)
    lab.add("guest0", 11)
    guest, other = lab.guest("guest0", 10), lab.guest("guest0", 11)
    url = f"{LINK_LOCAL}/latest/meta-data/instance-id"
    put = ("-X", "PUT", "-H")

    def token_of(guest_: object, seconds: int) -> str:
        status, token = guest.curl(f"{LINK_LOCAL}/latest/api/token", *put,
                                   f"X-aws-ec2-metadata-token-ttl-seconds: {seconds}")  # fmt: skip
        assert status == 200
        return f"X-aws-ec2-metadata-token: {token}"

    assert guest.curl(url)[0] == 401
    assert guest.curl(f"{LINK_LOCAL}/2021-03-23/meta-data/")[0] == 401
    token = token_of(guest, 21600)
    assert guest.curl(url, "-H", token) == (200, "i-10")
    assert guest.curl(url, "-H", token) == (200, "i-10")
    assert other.curl(url, "-H", token)[0] == 401, "bound to the guest"
    assert guest.curl(url, "-H", token[:-6] + "AAAAAA")[0] == 401
    short = token_of(guest, 1)
    assert guest.curl(url, "-H", short)[0] == 200
    time.sleep(1.1)
    assert guest.curl(url, "-H", short)[0] == 401
    for seconds in ("0", "21601", "-1", "x", ""):
        assert guest.curl(f"{LINK_LOCAL}/latest/api/token", *put,
                          f"X-aws-ec2-metadata-token-ttl-seconds: {seconds}")[0] == 400  # fmt: skip
    assert guest.curl(f"{LINK_LOCAL}/latest/api/token", "-X", "PUT")[0] == 400
    assert guest.curl(f"{LINK_LOCAL}/latest/api/token")[0] == 405
    assert guest.curl(f"{LINK_LOCAL}/latest/api/token", *put, "X-aws-ec2-metadata-token-ttl-seconds: 60",
                      "-H", "X-Forwarded-For: 10.1.1.9")[0] == 403  # fmt: skip
    assert guest.curl(f"{GATEWAY}/latest/meta-data/instance-id") == (200, "i-10"), "CloudStack has no tokens"
    lab.network("guest0", tokens="optional")
    lab.until(lambda: guest.curl(url)[0] == 200, seconds=2)
    assert guest.curl(url, "-H", short)[0] == 401, "a bad token is refused, wanted or not"


def test_a_token_goes_one_hop(served: Lab) -> None:
    """What the guest forwards for (a container in it) can ask for a token, and never gets it."""
    served.add("guest0", 10)
    guest = served.guest("guest0", 10)
    inner = served._namespace("inner")
    ip = guest.run
    ip("ip", "link", "add", "docker0", "type", "veth", "peer", "eth0", "netns", inner)
    ip("ip", "address", "add", "172.17.0.1/24", "dev", "docker0")
    ip("ip", "link", "set", "docker0", "up")
    ip("sysctl", "-qw", "net.ipv4.ip_forward=1")
    ip("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; "
       "add rule ip nat post oif eth0 masquerade")  # fmt: skip
    container = ("ip", "netns", "exec", inner)
    subprocess.run([*container, "ip", "address", "add", "172.17.0.2/24", "dev", "eth0"], check=True)
    subprocess.run([*container, "ip", "link", "set", "eth0", "up"], check=True)
    subprocess.run([*container, "ip", "route", "add", "default", "via", "172.17.0.1"], check=True)
    put = ("curl", "-s", "-m", "3", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60",
           f"{LINK_LOCAL}/latest/api/token")  # fmt: skip
    asking = [*container, "curl", "-s", "-m", "3", f"{LINK_LOCAL}/latest/meta-data/instance-id"]
    plain = subprocess.run(asking, capture_output=True, text=True, check=False)  # fmt: skip
    assert plain.stdout == "i-10", "the container reaches the service as such"
    assert subprocess.run([*container, *put], capture_output=True, check=False).returncode == 28
    assert len(guest.run(*put)) > 40


def test_a_record_counts_at_once(served: Lab) -> None:
    guest = served.guest("guest0", 10)
    url = f"{GATEWAY}/latest/meta-data/instance-id"
    assert guest.curl(url)[0] == 404
    connect = lambda: socket.create_connection(("10.1.1.1", 80), timeout=5)  # noqa: E731
    for number in range(200):
        served.add("guest0", 10, instance_id=f"i-{number}")
        connection = in_namespace(guest.namespace, connect)
        connection.sendall(b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = connection.recv(4096)
        connection.close()
        assert answer.endswith(b"\r\n\r\ni-%d" % number)
    served.base("guest0", [record(10, instance_id="i-base")])
    (served.config / "guest0" / "added" / mac_of(10)).unlink()
    assert guest.curl(url) == (200, "i-base")
    served.base("guest0", [])
    assert guest.curl(url)[0] == 404


def test_ten_thousand_records(served: Lab) -> None:
    started = time.monotonic()
    served.base("guest0", [record(number) for number in range(10, 10010)])
    guest = served.guest("guest0", 200)
    assert guest.curl(f"{GATEWAY}/latest/meta-data/instance-id") == (200, "i-200")
    assert served.health()["guest0"]["records"] == 10000
    memory = [line for line in process_status(served) if line.startswith(("VmRSS", "RssAnon"))]
    print(f"10,000 records: first answer {time.monotonic() - started:.2f} s after writing them; {memory}")
    assert int(memory[1].split()[1]) < 40_000


def test_networks_come_and_go(served: Lab) -> None:
    served.add("guest0", 10)
    guest = served.guest("guest0", 10)
    connection = in_namespace(guest.namespace, lambda: socket.create_connection(("10.1.1.1", 80), timeout=5))
    connection.sendall(b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(4096).endswith(b"i-10")
    served.network("guest1")
    served.until(lambda: len(served.health().get("guest1", {}).get("listening", [])) == 3)
    served.add("guest1", 10, instance_id="i-other")
    other = served.guest("guest1", 10)
    assert other.curl(f"{GATEWAY}/latest/instance-id") == (200, "i-other")
    # The interface itself goes and comes back.
    switch = f"{served.name}sguest1"
    subprocess.run(["ip", "-n", served.router, "link", "delete", "guest1"], check=True)
    served.until(lambda: served.health()["guest1"]["listening"] == [])
    subprocess.run(["ip", "-n", served.router, "link", "add", "guest1", "type", "veth", "peer", "up1",
                    "netns", switch], check=True)  # fmt: skip
    subprocess.run(["ip", "-n", switch, "link", "set", "up1", "master", "switch0", "up"], check=True)
    subprocess.run(["ip", "-n", served.router, "link", "set", "guest1", "up"], check=True)
    served.until(lambda: len(served.health()["guest1"]["listening"]) == 3)
    subprocess.run(["ip", "-n", served.router, "address", "add", "10.1.1.1/24", "dev", "guest1"], check=True)
    other.run("ip", "neighbour", "flush", "dev", "eth0")
    served.until(lambda: other.curl(f"{GATEWAY}/latest/instance-id") == (200, "i-other"))
    del served._networks["guest1"]
    served.write_config(served._networks)
    served.until(lambda: "guest1" not in served.health())
    assert other.curl(f"{GATEWAY}/latest/instance-id")[0] == 0
    connection.sendall(b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(4096).endswith(b"i-10")


def test_a_slow_guest_only_hurts_itself(served: Lab) -> None:
    served.add("guest0", 10)
    served.add("guest0", 11)
    slow, healthy = served.guest("guest0", 10), served.guest("guest0", 11)
    connect = lambda: socket.create_connection(("10.1.1.1", 80), timeout=8)  # noqa: E731
    held = [in_namespace(slow.namespace, connect) for _ in range(200)]
    for connection in held:
        with_reset(lambda connection=connection: connection.sendall(b"GET /latest/"))
    started = time.monotonic()
    for _ in range(20):
        assert healthy.curl(f"{GATEWAY}/latest/instance-id") == (200, "i-11")
    assert time.monotonic() - started < 2
    assert slow.curl(f"{GATEWAY}/latest/instance-id")[0] == 0, "it used up its connections"
    opened = time.monotonic()
    # A byte now and then doesn't make the patience longer.
    while time.monotonic() - opened < 5.5:
        for connection in held[:16]:
            with_reset(lambda connection=connection: connection.sendall(b"a"))
        time.sleep(0.5)
    assert slow.curl(f"{GATEWAY}/latest/instance-id") == (200, "i-10")
    served.until(lambda: status(served)["refused_by_reason"].get("timeout") == 16)
    assert status(served)["refused_by_reason"]["too_many_connections"] >= 184


def test_what_is_refused(served: Lab) -> None:
    served.add("guest0", 10)
    guest = served.guest("guest0", 10)
    leaf = f"{GATEWAY}/latest/meta-data/instance-id"
    assert guest.curl(leaf, "-H", "X-Forwarded-For: 1.2.3.4")[0] == 403
    assert guest.curl(leaf, "-x", f"{GATEWAY}:80")[0] == 400, "absolute form"
    assert guest.curl(f"{GATEWAY}/latest/../latest/user-data", "--path-as-is")[0] == 400
    assert guest.curl(f"{GATEWAY}/latest/%6deta-data/")[0] == 400
    assert guest.curl(f"{GATEWAY}/latest/meta-data/?a=b")[0] == 400
    assert guest.curl(leaf, "-H", "A: " + "a" * 9000)[0] == 431
    assert guest.curl(f"{GATEWAY}/" + "a" * 9000)[0] == 414
    assert guest.curl(leaf, "-X", "POST")[0] == 405
    assert guest.curl(leaf, "-X", "GET", "-d", "x" * 1024)[0] == 200
    assert guest.curl(leaf, "-X", "GET", "-d", "x" * 1025)[0] == 413
    assert guest.curl(leaf, "-X", "GET", "-d", "x", "-H", "Transfer-Encoding: chunked")[0] == 501
    assert guest.curl(f"{GATEWAY}/metrics")[0] == 404
    assert guest.curl(f"{GATEWAY}/health")[0] == 404


def test_big_user_data_to_a_client_that_takes_its_time(served: Lab) -> None:
    served.add("guest0", 10, user_data=base64.b64encode(bytes(range(256)) * 8192).decode())
    guest = served.guest("guest0", 10)
    out = guest.run("sh", "-c", f"curl -s --limit-rate 1M {GATEWAY}/latest/user-data | sha256sum")
    assert out.split()[0] == hashlib.sha256(bytes(range(256)) * 8192).hexdigest()
    # 100 of them at once, pipelined, by someone who reads nothing.
    connection = in_namespace(guest.namespace, lambda: socket.create_connection(("10.1.1.1", 80), timeout=5))
    connection.sendall(b"GET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    time.sleep(1)
    memory = [line for line in process_status(served) if line.startswith("VmRSS")]
    assert int(memory[0].split()[1]) < 60_000, memory


def test_it_is_ready_when_it_listens(lab: Lab) -> None:
    lab.network("guest0")
    lab.add("guest0", 10)
    notified = str(lab.runtime / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(notified)
        notify.settimeout(10)
        lab.start("env", f"NOTIFY_SOCKET={notified}")
        assert notify.recv(100) == b"READY=1"
        lab.stop()
        assert notify.recv(100) == b"STOPPING=1"
    assert status(lab)["networks"]["guest0"]["records"] == 1  # type: ignore[index]
    assert (lab.runtime / "health.sock").stat().st_mode & 0o777 == 0o600


def test_it_runs_with_nothing_but_low_ports(lab: Lab) -> None:
    lab.network("guest0")
    lab.add("guest0", 10)
    path = lab.password("guest0", "10.1.1.10", "secret")
    for owned in (lab.runtime, path.parent, path):
        os.chown(owned, 65534, 65534)
    parent = lab.config.parent
    while parent != parent.parent:
        parent.chmod(parent.stat().st_mode | 0o055)
        parent = parent.parent
    # Where another user can read it: a checkout may be in somebody's home.
    lab.code, lab.python = lab.config.parent / "code", "/usr/bin/python3"
    shutil.copytree(ROOT / "router", lab.code / "router", ignore=shutil.ignore_patterns("__pycache__"))
    lab.start("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
              "--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service",
              "--bounding-set=-all,+net_bind_service")  # fmt: skip
    guest = lab.guest("guest0", 10)
    assert guest.curl(f"{LINK_LOCAL}/latest/meta-data/instance-id") == (200, "i-10")
    assert guest.curl(f"{GATEWAY}:8080", *SEND) == (200, "secret")
    assert guest.curl(f"{GATEWAY}:8080", *ACKNOWLEDGE) == (200, "saved_password")
    assert not path.exists()
    capabilities = [line.split()[1] for line in process_status(lab) if line.startswith("CapEff")]
    assert int(capabilities[0], 16) == 1 << 10


def in_namespace(namespace: str, make: object) -> socket.socket:
    """A socket keeps the namespace that it was made in."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        assert libc.setns(there, 0) == 0
        return make()  # type: ignore[operator,no-any-return]
    finally:
        assert libc.setns(home, 0) == 0
        os.close(home)
        os.close(there)


def with_reset(act: object) -> None:
    try:
        act()  # type: ignore[operator]
    except (ConnectionResetError, BrokenPipeError):
        return


def status(lab: Lab) -> dict[str, dict[str, int]]:
    return dict(json.loads((lab.runtime / "status.json").read_text()))


def process_status(lab: Lab) -> list[str]:
    return Path(f"/proc/{lab.pid}/status").read_text().splitlines()
