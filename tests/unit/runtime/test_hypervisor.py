from collections.abc import Callable

import pytest

from appliance.runtime import hypervisor
from appliance.runtime.runtime import MachineError
from appliance.runtime.virtual import VirtualMachines


@pytest.mark.parametrize(
    "question",
    [
        lambda machines: machines.names(),
        lambda machines: machines.status("r1"),
        lambda machines: machines.has_snapshot("r1"),
        lambda machines: machines.kill("r1"),
    ],
)
def test_without_the_binding_it_is_said_what_is_missing(
    question: Callable[[VirtualMachines], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hypervisor, "libvirt", None)
    with pytest.raises(MachineError, match="make vm-deps"):
        question(VirtualMachines("main"))
