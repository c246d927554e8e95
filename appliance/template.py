"""Render templates of daemons' configuration (jinja2): an undefined name is an error, and no value can
break out of its line. Nothing is escaped, for nothing here is HTML; the models let no quote, brace or
semicolon through where a daemon would take it for syntax."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, StrictUndefined

import templates

COMPILED = Path(templates.__path__[0]) / "__compiled__"
"""Where an appliance has them ready: to compile them takes a tenth of the agent's start."""


def render(name: str, **context: object) -> str:
    """The text of `templates/NAME` with this context. Raises jinja2.UndefinedError or ValueError."""
    return _environment().get_template(name).render(context)


def _one_line(value: Any) -> Any:
    if isinstance(value, str) and any(ord(character) < 32 or character == "\x7f" for character in value):
        raise ValueError("A control character in a value for a template")
    return value


@cache
def _environment() -> Environment:
    ready = FileSystemBytecodeCache(str(COMPILED)) if COMPILED.is_dir() else None
    environment = Environment(
        bytecode_cache=ready,
        loader=PackageLoader("templates", "."),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_one_line,
    )
    environment.filters["qualified"] = _qualified
    environment.filters["milliseconds"] = milliseconds
    return environment


def compile_all() -> None:
    """Leave all templates ready in COMPILED."""
    COMPILED.mkdir()
    _environment.cache_clear()
    for name in sorted(_environment().list_templates(extensions=["j2"])):
        _environment().get_template(name)


def _qualified(name: str, domain: str) -> str:
    """A DNS name without a dot is in the domain."""
    return name if "." in name else f"{name}.{domain}"


def milliseconds(seconds: float) -> str:
    """A time as daemons take it that count in whole milliseconds."""
    return f"{round(seconds * 1000)}ms"
