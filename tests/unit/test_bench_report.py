"""The page of benchmarks keeps what the others have measured."""

from tests.bench import report
from tests.bench.__main__ import NAMES


def test_every_section_is_found_again() -> None:
    written = {name: f"## Title of {name}\n\ntext\n" for name in NAMES}
    assert report.sections(report.page(written)) == written
