"""A bare dnsmasq beside the router: the same program from the same tree, with the same entries, on the same
segment, and nothing of ours around it."""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.runtime import namespace
from tests.bench import documents, effect
from tests.bench.lab import Lab, end

ADDRESS = "10.1.0.3"
_MAC = "02:00:0a:01:01:03"
_NAME = "bare"
_CONF = f"""
interface=guest0
except-interface=lo
bind-interfaces
no-resolv
no-hosts
no-poll
user=dnsmasq
group=nogroup
pid-file=
domain={documents.DOMAIN},{documents.NETWORK}
local=/{documents.DOMAIN}/
addn-hosts=/run/hosts
dhcp-authoritative
dhcp-leasefile=/run/leases/guest0
dhcp-lease-max=100000
dhcp-ignore-names=tag:!known
dhcp-hostsfile=/run/dhcp-hosts
dhcp-range={documents.NETWORK.partition("/")[0]},static,255.255.0.0,86400
"""


@dataclass(frozen=True)
class Bare:
    files: Path
    """Its /run."""
    process: subprocess.Popen[bytes]
    namespace: str


def entries(count: int) -> dict[str, str]:
    """The files that say the same as a document with so many reservations."""
    numbers = range(count)
    return {
        "hosts": "".join(f"{documents.guest_address(n)} vm{n}.{documents.DOMAIN} vm{n}\n" for n in numbers),
        "dhcp-hosts": "".join(
            f"{documents.guest_mac(n)},{documents.guest_address(n)},vm{n},86400\n" for n in numbers
        ),
    }


@contextmanager
def dnsmasq(lab: Lab, *, files: Mapping[str, str], options: str = "") -> Iterator[Bare]:
    """It runs and answers for the first entry, until the context ends."""
    inside = end(_NAME, "guest0", _MAC, [f"{ADDRESS}/16"])
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        (place / "leases").mkdir()
        (place / "leases").chmod(0o777)
        for name, content in {**files, "dnsmasq.conf": _CONF + options}.items():
            (place / name).write_text(content)
        # The tree stays as it is: what is bound over its /run is seen in this mount namespace only.
        script = 'mount --bind "$1" "$2/run" && exec chroot "$2" dnsmasq -k --conf-file=/run/dnsmasq.conf'
        process = subprocess.Popen(
            namespace.entering(
                inside, ["unshare", "--mount", "sh", "-c", script, "sh", str(place), str(lab.tree)]
            )
        )
        try:
            first = effect.resolves(f"vm0.{documents.DOMAIN}", documents.guest_address(0), server=ADDRESS)
            effect.Watch(first, namespace=lab.namespace("guest")).wait()
            yield Bare(files=place, process=process, namespace=inside)
        finally:
            process.terminate()
            process.wait()
            time.sleep(0.05)
