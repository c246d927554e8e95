"""Canned ACLs of objects, and what any ACL looks like when it is read."""

import os
from dataclasses import replace

from secstorage.s3.api import fields, markup
from secstorage.s3.api.call import OWNER, Call, check_key
from secstorage.s3.api.object import opened_for_reading
from secstorage.s3.error import S3Error
from secstorage.s3.http.response import Response
from secstorage.s3.store import objects

_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
_EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"
_AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
_GRANTS = {
    "public-read": [(_EVERYBODY, "READ")],
    "public-read-write": [(_EVERYBODY, "READ"), (_EVERYBODY, "WRITE")],
    "authenticated-read": [(_AUTHENTICATED, "READ")],
}


def grants(acl: str) -> list[str]:
    """Owner and grants of a canned ACL."""
    who = f"<ID>{OWNER}</ID><DisplayName>{OWNER}</DisplayName>"
    found = [
        f'<Grant><Grantee {_XSI} xsi:type="CanonicalUser">{who}</Grantee>'
        f"<Permission>FULL_CONTROL</Permission></Grant>"
    ]
    for group, permission in _GRANTS.get(acl, []):
        found.append(
            f'<Grant><Grantee {_XSI} xsi:type="Group"><URI>{group}</URI></Grantee>'
            f"<Permission>{permission}</Permission></Grant>"
        )
    return [markup.owner(OWNER), markup.group("AccessControlList", found)]


def canned(content: bytes) -> str:
    """The canned ACL that an AccessControlPolicy is; raises S3Error if it is none."""
    found = set()
    access = markup.parse(content, "AccessControlPolicy").child("AccessControlList")
    for grant in access.all("Grant") if access else ():
        grantee = grant.child("Grantee")
        uri = grantee.text("URI", "") if grantee else ""
        if uri:
            found.add((uri, grant.text("Permission")))
        elif (
            grant.text("Permission") != "FULL_CONTROL" or grantee is None or grantee.text("ID", "") != OWNER
        ):
            raise S3Error("NotImplemented", "Only canned ACLs are implemented")
    if not found:
        return "private"
    for name, each in _GRANTS.items():
        if set(each) == found:
            return name
    raise S3Error("NotImplemented", "Only canned ACLs are implemented")


def get(call: Call) -> Response:
    file, found = opened_for_reading(call, "s3:GetObjectAcl")
    os.close(file)
    content = markup.document("AccessControlPolicy", grants(found.record.acl))
    return Response(200, {"Content-Type": "application/xml"}, content)


def put(call: Call) -> Response:
    check_key(call.key)
    call.require(call.versioned("s3:PutObjectAcl"))
    value = fields.acl(call.request)
    content = call.document()
    if not value:
        value = canned(content)
    made = objects.change(call.bucket, call.key, call.version, lambda record: replace(record, acl=value))
    if made is None:
        raise S3Error("NoSuchVersion" if call.version else "NoSuchKey", elements={"Key": call.key})
    return Response(200)
