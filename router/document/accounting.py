"""Traffic that is counted."""

from appliance.model import Model


class Accounting(Model):
    """Traffic counters: per guest network, per public address."""

    networks: bool = True
    addresses: bool = True
