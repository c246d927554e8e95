"""The virtual router: a document's sections, and one file per service that gives them effect."""

from appliance.services import interfaces
from router import accounting, dnsmasq, metadata, ruleset
from router.document import RouterDocument
from router.validation import problems

Document = RouterDocument

SERVICES = [
    ruleset,
    interfaces,
    dnsmasq,
    metadata,
    accounting,
]

__all__ = ["SERVICES", "Document", "problems"]
