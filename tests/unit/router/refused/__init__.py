"""Documents that are refused: patches of the example `everything`, one module for each of
`router.validation`."""

from typing import Any

Case = tuple[dict[str, Any], str, str]
"""A merge patch, the pointer of the problem, and part of its sentence."""
