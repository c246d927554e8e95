"""Documents that machines get."""

import json
from typing import Any

DOCUMENT: dict[str, Any] = {"role": "router", "name": "r1", "generation": 7}


def text(document: dict[str, Any]) -> str:
    return json.dumps(document)
