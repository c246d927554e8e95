"""Traffic that is counted."""

from appliance.model import Model


class Accounting(Model):
    """Traffic counters: per guest network, per public address, per guest."""

    networks: bool = True
    addresses: bool = True
    guests: bool = False
    """Each address that a reservation, the metadata section or a limit names; their networks are counted,
    too."""
