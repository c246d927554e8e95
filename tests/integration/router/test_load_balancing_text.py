"""Whatever text the models let through is for HAProxy what it was meant to be: `haproxy -c` takes it."""

import json
from typing import Any

from router_lab import Lab

from appliance.engine import load_balancers
from appliance.model import RefusedError
from appliance.resources import LoadBalancers
from router import load_balancing
from tests.document_place import one_of_each_kind
from tests.examples import example, read
from tests.unit.router.test_injection import NASTY

_CHECK = """
import json, pathlib, subprocess, sys, tempfile
for config, certificates in json.load(sys.stdin):
    with tempfile.TemporaryDirectory() as directory:
        for name, pem in certificates.items():
            (pathlib.Path(directory) / name).write_text(pem)
        path = pathlib.Path(directory) / "haproxy.cfg"
        path.write_text(config.replace("/run/sysvm/haproxy/certificates", directory))
        ran = subprocess.run(["haproxy", "-c", "-f", path], capture_output=True, text=True)
        print(ran.returncode, ran.stderr.replace("\\n", " "))
"""


def checked(lab: Lab, found: list[tuple[str, dict[str, str]]]) -> list[str]:
    return lab.run("python3", "-c", _CHECK, stdin=json.dumps(found)).splitlines()


def configuration(value: Any) -> tuple[str, dict[str, str]]:
    (item,) = [made for made in load_balancing.resources(read(value)) if isinstance(made, LoadBalancers)]
    return load_balancers.config(item), dict(item.certificates)


def test_no_text_is_an_error_to_haproxy(lab: Lab) -> None:
    everything = example("everything")
    found = {json.dumps(configuration(everything)): "as it is"}
    tried = 0
    for place in one_of_each_kind(everything):
        if place.kind[0] not in ("load_balancers", "certificates"):
            continue
        for name, nasty in NASTY.items():
            half = len(place.text) // 2
            for text in (
                place.text + nasty,
                nasty + place.text,
                place.text[:half] + nasty + place.text[half:],
            ):
                tried += 1
                try:
                    made = configuration(place.changed(everything, text))
                except RefusedError:
                    continue
                found.setdefault(json.dumps(made), f"{'/'.join(place.kind)}: {name}")
    assert tried > 1000
    assert len(found) > 20, "some are let through"
    said = checked(lab, [json.loads(text) for text in found])
    assert [(name, line) for name, line in zip(found.values(), said, strict=True) if line[0] != "0"] == []


def test_haproxy_would_have_refused(lab: Lab) -> None:
    config, certificates = configuration(example("everything"))
    wrong = config.replace("balance leastconn", "balance by-weight")
    (said,) = checked(lab, [(wrong, certificates)])
    assert said[0] == "1"
    assert "balance only supports" in said
