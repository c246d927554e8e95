import time
from collections.abc import Callable
from pathlib import Path

from appliance.devcloud import cloud as clouds
from appliance.devcloud import internet
from appliance.devcloud.layout import CLIENT_ADDRESS, MANAGEMENT, WEB_ADDRESS
from appliance.runtime import namespace, remains
from appliance.runtime.container import Containers
from appliance.runtime.naming import full_name

Tree = Callable[[str], Path]


def test_goes_up_once_repairs_itself_and_goes_down_whole(cloud: Containers, tree: Tree) -> None:
    tree("guest")
    verdicts = list(clouds.up(cloud=cloud.cloud).run())
    assert len(verdicts) >= 22
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert all(member.up for member in clouds.status(cloud=cloud.cloud))
    leader = cloud.status("vm1").leader
    clouds.up(cloud=cloud.cloud)
    assert cloud.status("vm1").leader == leader

    url = f"http://{WEB_ADDRESS}/"
    for _ in range(50):
        if internet.run(cloud.cloud, ["curl", "-sf", url]).returncode == 0:
            break
        time.sleep(0.1)
    seen = internet.run(cloud.cloud, ["curl", "-sf", "--interface", CLIENT_ADDRESS, url], check=True)
    assert seen.stdout == f"{CLIENT_ADDRESS}\n"
    addresses = namespace.run(full_name(cloud.cloud, MANAGEMENT), ["ip", "-br", "address"], check=True)
    assert "169.254.3.1/24" in addresses.stdout

    cloud.kill("vm2")
    web_server = internet.daemons(cloud.cloud)[0]
    web_server.kill()
    assert {member.name for member in clouds.status(cloud=cloud.cloud) if not member.up} == {
        "vm2",
        web_server.name,
    }
    clouds.up(cloud=cloud.cloud)
    assert all(member.up for member in clouds.status(cloud=cloud.cloud))

    assert clouds.down(cloud=cloud.cloud)
    assert clouds.down(cloud=cloud.cloud) == []
    assert clouds.status(cloud=cloud.cloud) == []
    assert remains.found(cloud.cloud) == []
