"""A clock that is plainly wrong at boot: before the machine's own certificate was made.

By such a clock no client's certificate is valid yet, so nobody could say where to get the time from.
"""

import base64
import datetime
import logging
import re
import time

from appliance.boot import Boot

log = logging.getLogger(__name__)
_PEM = re.compile("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
# Validity ::= SEQUENCE { notBefore Time, notAfter Time } in DER (RFC 5280, 4.1.2.5), as UTCTime or
# GeneralizedTime.
_VALIDITY = re.compile(
    rb"(?:\x17\x0d(\d{12})|\x18\x0f(\d{14}))Z(?:\x17\x0d\d{12}|\x18\x0f\d{14})Z", re.DOTALL
)


def advance(boot: Boot) -> None:
    """Set the clock to when the machine's certificate began to be valid, if it is behind that."""
    try:
        known = beginning(boot.tls.certificate)
    except ValueError as error:
        log.error("The certificate can't be read: %s", error)
        return
    now = time.time()
    if now >= known:
        return
    said, told = (
        datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(" ") for at in (int(now), known)
    )
    try:
        time.clock_settime(time.CLOCK_REALTIME, known)
    except OSError as error:
        # A container's: its host's.
        log.error("The clock says %s, before %s, and can't be set: %s", said, told, error)
    else:
        log.warning("The clock said %s: set to %s, when this machine's certificate was made", said, told)


def beginning(certificate: str) -> float:
    """From when on a certificate (PEM) is valid, in seconds since 1970. Raises ValueError."""
    # Not by the ssl module: to import that takes long, and guests wait.
    pem = _PEM.search(certificate)
    found = _VALIDITY.search(base64.b64decode(pem[1])) if pem else None
    if found is None:
        raise ValueError("it says nothing of when it is valid")
    short, long = found.groups()
    # Years of two digits are from 1950 to 2049.
    text = long or (b"19" if short >= b"50" else b"20") + short
    return datetime.datetime.strptime(f"{text.decode()}+0000", "%Y%m%d%H%M%S%z").timestamp()
