"""The keys of a VPC's tunnels and of its pair: made once, so that pushing again changes nothing."""

import base64
import json
import secrets
from dataclasses import asdict, dataclass

from appliance import disk
from appliance.curve25519 import public_key
from appliance.runtime.naming import state_directory


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Keys:
    tunnel: str
    user: str
    site: str
    pair: str

    @property
    def tunnel_public(self) -> str:
        return public_key(self.tunnel)

    @property
    def user_public(self) -> str:
        return public_key(self.user)


def keys(cloud: str) -> Keys:
    path = state_directory(cloud, "vpc") / "keys.json"
    if not path.exists():
        tunnel, user = (base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
        made = Keys(tunnel=tunnel, user=user, site=secrets.token_urlsafe(24), pair=secrets.token_urlsafe(24))
        disk.write_json(path, asdict(made))
    return Keys(**json.loads(path.read_bytes()))
