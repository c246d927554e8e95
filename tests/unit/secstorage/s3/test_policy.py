"""Bucket policies: what they say, and which are refused."""

import json
from typing import Any

import pytest

from secstorage.s3.api import policy
from secstorage.s3.api.policy import Asked
from secstorage.s3.error import S3Error


def text(**changes: Any) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::b/pub/*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | changes]})


def asked(**changes: Any) -> Asked:
    default: dict[str, Any] = {
        "access_key": "",
        "action": "s3:GetObject",
        "resource": "b/pub/x",
        "address": "192.0.2.1",
        "secure": False,
        "query": {},
    }
    return Asked(**(default | changes))


def test_what_a_policy_says() -> None:
    assert policy.says(text(), asked()) is True
    assert policy.says(text(), asked(resource="b/private/x")) is None
    assert policy.says(text(), asked(action="s3:PutObject")) is None
    assert policy.says(text(Action="s3:*"), asked(action="s3:PutObject")) is True
    assert policy.says(text(Effect="Deny"), asked()) is False


def test_a_principal_is_an_access_key() -> None:
    mine = text(Principal={"AWS": ["arn:aws:iam::1:user/AK"]})
    assert policy.says(mine, asked()) is None
    assert policy.says(mine, asked(access_key="AK")) is True
    assert policy.says(mine, asked(access_key="OTHER")) is None


def test_conditions() -> None:
    near = text(Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})
    assert policy.says(near, asked()) is True
    assert policy.says(near, asked(address="::ffff:192.0.2.7")) is True
    assert policy.says(near, asked(address="198.51.100.1")) is None
    plain = text(Effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})
    assert policy.says(plain, asked()) is False
    assert policy.says(plain, asked(secure=True)) is None
    below = text(
        Action="s3:ListBucket", Resource="arn:aws:s3:::b", Condition={"StringLike": {"s3:prefix": "home/*"}}
    )
    listing = {"action": "s3:ListBucket", "resource": "b"}
    assert policy.says(below, asked(query={"prefix": "home/me"}, **listing)) is True
    assert policy.says(below, asked(query={"prefix": "etc/"}, **listing)) is None
    assert policy.says(below, asked(**listing)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"Statement": []}',
        text(Effect="Perhaps"),
        text(Resource="arn:aws:s3:::other/*"),
        text(Principal={"Federated": "x"}),
        text(Action="ec2:Run"),
        text(NotAction="s3:GetObject"),
        text(More=1),
        text(Condition={"DateGreaterThan": {"aws:CurrentTime": "2026"}}),
        text(Condition={"Bool": {"aws:Mfa": "true"}}),
        text(Condition={"IpAddress": {"aws:SourceIp": "nowhere"}}),
        text(Action=5),
        "[" * 5000,
    ],
)
def test_what_cannot_be_kept_to_is_refused(wrong: str) -> None:
    with pytest.raises(S3Error) as error:
        policy.check(wrong, "b")
    assert error.value.code == "MalformedPolicy"
