"""An appliance's templates are compiled as its image is built."""

from pathlib import Path

import pytest
from jinja2 import environment

from appliance import template


def test_no_template_is_compiled_that_was_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "COMPILED", tmp_path / "compiled")
    template._environment.cache_clear()
    try:
        template.compile_all()
        assert list(template.COMPILED.iterdir())
        template._environment.cache_clear()
        loaded = template._environment()
        monkeypatch.setattr(environment.Environment, "compile", None)
        for name in loaded.list_templates(extensions=["j2"]):
            loaded.get_template(name)
    finally:
        template._environment.cache_clear()
