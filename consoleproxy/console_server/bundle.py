"""CommonJS modules as one script for browsers: Debian has xterm.js as modules only."""

import json
import posixpath
import re
from pathlib import Path

_REQUIRED = re.compile(r"""\brequire\(["'](\.{1,2}/[^"']+)["']\)""")
_LOADER = """
  var loaded = {};
  function load(name) {
    if (!loaded[name]) {
      var module = loaded[name] = { exports: {} };
      modules[name][1].call(module.exports, module, module.exports,
        function (wanted) { return load(modules[name][0][wanted]); });
    }
    return loaded[name].exports;
  }
"""


def bundled(directory: Path, entry: str, name: str) -> bytes:
    """A script that sets the global `name` to what the module `entry` exports under that name. Raises
    OSError for a module that isn't there."""
    modules: dict[str, str] = {}
    wanted = [entry]
    while wanted:
        module = wanted.pop()
        if module in modules:
            continue
        text = (directory / f"{module}.js").read_text()
        required = {
            each: posixpath.normpath(posixpath.join(posixpath.dirname(module), each))
            for each in _REQUIRED.findall(text)
        }
        modules[module] = f"[{json.dumps(required)}, function (module, exports, require) {{{text}\n}}]"
        wanted += required.values()
    table = ",\n".join(f"{json.dumps(module)}: {text}" for module, text in sorted(modules.items()))
    return (
        f"(function () {{\nvar modules = {{{table}}};\n{_LOADER}\n"
        f"window.{name} = load({json.dumps(entry)}).{name};\n}})();\n"
    ).encode()
