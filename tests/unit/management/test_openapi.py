"""The description of the management plane's API."""

from pathlib import Path

from appliance.management.api import create_app
from appliance.management.openapi import description
from appliance.management.plane import Plane


def test_description_has_every_route(tmp_path: Path) -> None:
    with Plane.open(tmp_path / "plane") as plane:
        app = create_app(plane)
        routes = {
            (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
            for rule in app.url_map.iter_rules()
            if rule.endpoint != "static"
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        paths = description()["paths"]
        assert routes == {(path, method) for path, operations in paths.items() for method in operations}
