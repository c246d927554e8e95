"""The bill of materials: CycloneDX 1.6, JSON."""

import json
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from images.inventory import Component
from images.recipe import SUITE


def write(
    components: Sequence[Component], *, name: str, version: str, created: str, serial: uuid.UUID
) -> str:
    """`created` is RFC 3339, `serial` of this very content."""
    subject = {"type": "container", "bom-ref": name, "name": name, "version": version}
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"timestamp": created, "component": subject},
        "components": [described(component) for component in components],
    }
    return json.dumps(bill, indent=1) + "\n"


def described(component: Component) -> dict[str, Any]:
    url = package_url(component)
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": url,
        "name": component.name,
        "version": component.version,
        "purl": url,
    }
    if component.license:
        found["licenses"] = [{"expression": component.license}]
    return found


def package_url(component: Component) -> str:
    version = quote(component.version, safe="")
    if component.kind == "deb":
        words = f"arch={component.architecture}&distro={SUITE}"
        return f"pkg:deb/debian/{quote(component.name, safe='')}@{version}?{words}"
    return f"pkg:{component.kind}/{component.name}@{version}"
