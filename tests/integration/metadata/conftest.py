import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from metadata_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    if os.geteuid():
        pytest.skip("needs root for network namespaces")
    lab = Lab(tmp_path)
    try:
        yield lab
    finally:
        lab.close()


@pytest.fixture
def served(lab: Lab) -> Lab:
    """The service with one network, guest0."""
    lab.network("guest0")
    lab.start()
    return lab
