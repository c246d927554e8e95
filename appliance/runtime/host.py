"""Where machines run, in a word: `containers` of this host, or a hypervisor by its libvirt URI."""

from collections.abc import Callable

from appliance.runtime.container import Containers
from appliance.runtime.runtime import Runtime
from appliance.runtime.virtual import VirtualMachines

CONTAINERS = "containers"


def runtime(host: str, *, cloud: str, progress: Callable[[str], None] = lambda step: None) -> Runtime:
    """The machines of a cloud on a host; what is wrong with that shows when it is asked something. Raises
    ValueError for an unusable cloud name."""
    return Containers(cloud) if host == CONTAINERS else VirtualMachines(cloud, uri=host, progress=progress)
