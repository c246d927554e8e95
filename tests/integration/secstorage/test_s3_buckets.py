"""Buckets through boto3: listing, versions, rights, CORS, lifecycle; and the reload of the daemon."""

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import requests

from secstorage.s3.store.bucket import Options, Store
from secstorage.s3.store.sweep import sweep
from tests.integration.secstorage.s3_daemon import (
    KEY,
    READER,
    READER_SECRET,
    Daemon,
    client,
    free_port,
    refused,
    running,
    until,
)

DAY = 86_400


def test_buckets_come_and_go(boto: Any, s3: Daemon) -> None:
    boto.create_bucket(Bucket="comes-and-goes")
    assert "comes-and-goes" in [each["Name"] for each in boto.list_buckets()["Buckets"]]
    boto.head_bucket(Bucket="comes-and-goes")
    with refused("BucketAlreadyOwnedByYou"):
        boto.create_bucket(Bucket="comes-and-goes")
    boto.put_object(Bucket="comes-and-goes", Key="a/b")
    with refused("BucketNotEmpty"):
        boto.delete_bucket(Bucket="comes-and-goes")
    boto.delete_object(Bucket="comes-and-goes", Key="a/b")
    boto.delete_bucket(Bucket="comes-and-goes")
    assert not (s3.root / "comes-and-goes").exists()
    for bucket in ("comes-and-goes", "never-was"):
        with refused("404"):
            boto.head_bucket(Bucket=bucket)
        with refused("NoSuchBucket"):
            boto.list_objects_v2(Bucket=bucket)
        with refused("NoSuchBucket"):
            boto.put_object(Bucket=bucket, Key="k")
    assert requests.put(f"{s3.url}/Not_A_Bucket", timeout=60).status_code in (400, 403)
    (s3.root / "by-hand").mkdir()
    boto.put_object(Bucket="by-hand", Key="k")
    assert boto.get_bucket_location(Bucket="by-hand")["LocationConstraint"] is None


def test_listings(boto: Any, bucket: str) -> None:
    wanted = [f"{letter}/{number}" for letter in "abc" for number in range(4)] + ["a-", "z"]
    for key in wanted:
        boto.put_object(Bucket=bucket, Key=key)
    for version in ("list_objects", "list_objects_v2"):
        for size in (1, 3, 1000):
            pages = boto.get_paginator(version).paginate(
                Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size}
            )
            found = [
                each.get("Key", each.get("Prefix"))
                for page in pages
                for name in ("Contents", "CommonPrefixes")
                for each in page.get(name, [])
            ]
            assert sorted(found) == ["a-", "a/", "b/", "c/", "z"]
    pages = boto.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 5})
    assert [each["Key"] for page in pages for each in page["Contents"]] == sorted(wanted)
    found = boto.list_objects_v2(Bucket=bucket, Prefix="b/", StartAfter="b/1")
    assert [each["Key"] for each in found["Contents"]] == ["b/2", "b/3"]
    odd = boto.list_objects_v2(Bucket=bucket, Delimiter="/1")
    assert [each["Prefix"] for each in odd["CommonPrefixes"]] == ["a/1", "b/1", "c/1"]
    assert boto.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0
    with refused("InvalidArgument"):
        boto.list_objects_v2(Bucket=bucket, ContinuationToken="x")


def test_many_deleted_at_once(boto: Any, bucket: str) -> None:
    for number in range(5):
        boto.put_object(Bucket=bucket, Key=f"k{number}")
    objects = [{"Key": key} for key in ("k0", "k1", "none", "k" * 1025)]
    answer = boto.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert {each["Key"] for each in answer["Deleted"]} == {"k0", "k1", "none"}
    assert [each["Code"] for each in answer["Errors"]] == ["KeyTooLongError"]
    boto.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k2"}], "Quiet": True})
    assert [each["Key"] for each in boto.list_objects_v2(Bucket=bucket)["Contents"]] == ["k3", "k4"]


def test_versions(boto: Any, bucket: str, s3: Daemon) -> None:
    name = {"Bucket": bucket, "Key": "k"}
    boto.put_object(**name, Body=b"0")
    boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert boto.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    one = boto.put_object(**name, Body=b"1", Metadata={"n": "1"})["VersionId"]
    two = boto.put_object(**name, Body=b"2")["VersionId"]
    assert boto.get_object(**name)["VersionId"] == two
    old = boto.get_object(**name, VersionId=one)
    assert old["Body"].read() == b"1" and old["Metadata"] == {"n": "1"}
    assert boto.get_object(**name, VersionId="null")["Body"].read() == b"0"
    marker = boto.delete_object(**name)
    assert marker["DeleteMarker"]
    with refused("NoSuchKey"):
        boto.get_object(**name)
    with refused("MethodNotAllowed"):
        boto.get_object(**name, VersionId=marker["VersionId"])
    assert "Contents" not in boto.list_objects_v2(Bucket=bucket)
    found = boto.list_object_versions(Bucket=bucket)
    assert [each["VersionId"] for each in found["Versions"]] == [two, one, "null"]
    assert [each["IsLatest"] for each in found["DeleteMarkers"]] == [True]
    pages = boto.get_paginator("list_object_versions").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 1}
    )
    each_page = [page.get("Versions", []) + page.get("DeleteMarkers", []) for page in pages]
    assert [page[0]["VersionId"] for page in each_page] == [marker["VersionId"], two, one, "null"]
    # The marker goes, and the object is back; the newest goes, and the one before it is current.
    boto.delete_object(**name, VersionId=marker["VersionId"])
    assert boto.get_object(**name)["Body"].read() == b"2"
    boto.delete_object(**name, VersionId=two)
    found = boto.get_object(**name)
    assert found["Body"].read() == b"1" and found["Metadata"] == {"n": "1"}
    assert (s3.root / bucket / "k").read_bytes() == b"1"
    boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    boto.put_object(**name, Body=b"3")
    boto.put_object(**name, Body=b"4")
    found = boto.list_object_versions(Bucket=bucket)["Versions"]
    assert [each["VersionId"] for each in found] == ["null", one]
    with refused("NoSuchVersion"):
        boto.get_object(**name, VersionId=two)
    with refused("BucketNotEmpty"):
        boto.delete_bucket(Bucket=bucket)


def test_rights_and_canned_acls(boto: Any, bucket: str, s3: Daemon) -> None:
    reader = s3.client(READER, READER_SECRET)
    boto.put_object(Bucket=bucket, Key="private", Body=b"x")
    boto.put_object(Bucket=bucket, Key="public", Body=b"y", ACL="public-read")
    assert reader.get_object(Bucket=bucket, Key="private")["Body"].read() == b"x"
    for operation in (
        lambda: reader.put_object(Bucket=bucket, Key="k"),
        lambda: reader.delete_object(Bucket=bucket, Key="private"),
        lambda: reader.create_bucket(Bucket="readers-own"),
        lambda: reader.put_bucket_acl(Bucket=bucket, ACL="public-read"),
        lambda: reader.put_object_tagging(Bucket=bucket, Key="public", Tagging={"TagSet": []}),
        lambda: s3.client(READER, "wrong").list_buckets(),
        lambda: s3.client("NOBODY", "wrong").list_buckets(),
    ):
        with refused("403"):
            operation()
    anybody = requests.Session()
    assert anybody.get(f"{s3.url}/{bucket}/public", timeout=60).content == b"y"
    assert anybody.get(f"{s3.url}/{bucket}/private", timeout=60).status_code == 403
    assert anybody.get(f"{s3.url}/{bucket}/none", timeout=60).status_code == 403
    assert anybody.get(f"{s3.url}/{bucket}", timeout=60).status_code == 403
    assert anybody.get(s3.url, timeout=60).status_code == 403
    assert anybody.put(f"{s3.url}/{bucket}/k", data=b"", timeout=60).status_code == 403
    boto.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert "public" in anybody.get(f"{s3.url}/{bucket}", timeout=60).text
    grants = boto.get_bucket_acl(Bucket=bucket)["Grants"]
    assert [each["Permission"] for each in grants] == ["FULL_CONTROL", "READ"]
    boto.put_object_acl(Bucket=bucket, Key="public", ACL="private")
    assert anybody.get(f"{s3.url}/{bucket}/public", timeout=60).status_code == 403


def test_policies(boto: Any, bucket: str, s3: Daemon) -> None:
    boto.put_object(Bucket=bucket, Key="open/k", Body=b"x")
    boto.put_object(Bucket=bucket, Key="closed/k", Body=b"x")

    def policy(effect: str, principal: object, action: str, resource: str) -> None:
        statement = {
            "Effect": effect,
            "Principal": principal,
            "Action": action,
            "Resource": f"arn:aws:s3:::{bucket}{resource}",
        }
        text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        boto.put_bucket_policy(Bucket=bucket, Policy=text)

    policy("Allow", "*", "s3:GetObject", "/open/*")
    assert requests.get(f"{s3.url}/{bucket}/open/k", timeout=60).status_code == 200
    assert requests.get(f"{s3.url}/{bucket}/closed/k", timeout=60).status_code == 403
    assert boto.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    reader = s3.client(READER, READER_SECRET)
    policy("Allow", {"AWS": [f"arn:aws:iam:::user/{READER}"]}, "s3:PutObject", "/*")
    reader.put_object(Bucket=bucket, Key="k")
    policy("Deny", {"AWS": READER}, "s3:*", "/*")
    with refused("AccessDenied"):
        reader.get_object(Bucket=bucket, Key="open/k")
    with refused("MalformedPolicy"):
        boto.put_bucket_policy(Bucket=bucket, Policy="{}")
    # Who denies everything to everybody can still take that back.
    policy("Deny", "*", "s3:*", "")
    boto.delete_bucket_policy(Bucket=bucket)
    with refused("NoSuchBucketPolicy"):
        boto.get_bucket_policy(Bucket=bucket)


def test_cors(boto: Any, bucket: str, s3: Daemon) -> None:
    with refused("NoSuchCORSConfiguration"):
        boto.get_bucket_cors(Bucket=bucket)
    rule = {
        "AllowedMethods": ["PUT", "GET"],
        "AllowedOrigins": ["https://*.example.com"],
        "AllowedHeaders": ["x-amz-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    }
    boto.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert boto.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    url = f"{s3.url}/{bucket}/k"
    asked = {"Origin": "https://a.example.com", "Access-Control-Request-Method": "PUT"}
    answer = requests.options(
        url, headers=asked | {"Access-Control-Request-Headers": "x-amz-date"}, timeout=60
    )
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example.com"
    assert answer.headers["Access-Control-Max-Age"] == "60"
    for wrong in ({"Origin": "https://evil.test"}, {"Access-Control-Request-Method": "DELETE"}):
        assert requests.options(url, headers=asked | wrong, timeout=60).status_code == 403
    boto.put_object(Bucket=bucket, Key="k", ACL="public-read")
    answer = requests.get(url, headers={"Origin": "https://b.example.com"}, timeout=60)
    assert answer.headers["Access-Control-Expose-Headers"] == "ETag"
    # Also an error, or the page couldn't read it.
    answer = requests.get(url + "2", headers={"Origin": "https://b.example.com"}, timeout=60)
    assert answer.status_code == 403 and "Access-Control-Allow-Origin" in answer.headers


def test_lifecycle(boto: Any, bucket: str, s3: Daemon) -> None:
    rules = [
        {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3}},
        {
            "ID": "tagged",
            "Status": "Enabled",
            "Filter": {"Tag": {"Key": "t", "Value": "1"}},
            "Expiration": {"Days": 1},
        },
        {
            "ID": "old",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 2},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
    ]
    boto.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    found = boto.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [rule["ID"] for rule in found] == ["logs", "tagged", "old"]
    with refused("NotImplemented"):
        transition = rules[0] | {"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}
        boto.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [transition]}
        )
    for key, tags in (("logs/1", ""), ("keep", ""), ("t", "t=1")):
        boto.put_object(Bucket=bucket, Key=key, Tagging=tags)
    boto.create_multipart_upload(Bucket=bucket, Key="unfinished")
    store = Store(str(s3.root), Options(attributes=s3.attributes))

    def keys() -> list[str]:
        return [each["Key"] for each in boto.list_objects_v2(Bucket=bucket).get("Contents", [])]

    now = time.time()
    sweep(store, now=now + 0.9 * DAY)
    assert keys() == ["keep", "logs/1", "t"]
    sweep(store, now=now + 2.1 * DAY)
    assert keys() == ["keep", "logs/1"]
    assert boto.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    sweep(store, now=now + 4.1 * DAY)
    assert keys() == ["keep"]
    boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    boto.put_object(Bucket=bucket, Key="keep", Body=b"2")
    sweep(store, now=now + 1.5 * DAY)
    assert len(boto.list_object_versions(Bucket=bucket)["Versions"]) == 2
    sweep(store, now=now + 3.1 * DAY)
    assert len(boto.list_object_versions(Bucket=bucket)["Versions"]) == 1


def test_what_there_is_not(boto: Any, bucket: str) -> None:
    with refused("ObjectLockConfigurationNotFoundError"):
        boto.get_object_lock_configuration(Bucket=bucket)
    with refused("ServerSideEncryptionConfigurationNotFoundError"):
        boto.get_bucket_encryption(Bucket=bucket)
    with refused("NotImplemented"):
        boto.get_bucket_website(Bucket=bucket)
    with refused("NotImplemented"):
        boto.put_object(Bucket=bucket, Key="k", ServerSideEncryption="AES256")
    with refused("NoSuchTagSet"):
        boto.get_bucket_tagging(Bucket=bucket)
    boto.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert boto.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "a", "Value": "b"}]


def test_a_reload_cuts_nothing_off(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        boto = daemon.client()
        boto.create_bucket(Bucket="bkt")
        content = os.urandom(64 * 1024**2)
        boto.put_object(Bucket="bkt", Key="k", Body=content)
        before = daemon.workers()
        stream = boto.get_object(Bucket="bkt", Key="k")["Body"]
        got = [stream.read(1024)]
        port = free_port()
        daemon.reload(
            credentials={"NEW": {"secret": "new-secret"}}, listen=[{"address": "127.0.0.1", "port": port}]
        )
        new = client(f"http://127.0.0.1:{port}", "NEW", "new-secret")
        until(lambda: _works(new))
        got.append(stream.read())
        assert b"".join(got) == content
        with refused("InvalidAccessKeyId"):
            client(f"http://127.0.0.1:{port}", KEY, "x").list_buckets()
        stream.close()
        until(lambda: not daemon.workers() & before)
        # A configuration that can't be used changes nothing, and is told of.
        now = daemon.workers()
        daemon.reload(region="No Region")
        until(lambda: "what was good before stays" in daemon.errors.read_text())
        assert daemon.workers() == now and _works(new)
        # A worker that dies is replaced.
        os.kill(min(now), 9)
        until(lambda: len(daemon.workers()) == 2 and daemon.workers() != now)
        assert _works(new)


def _works(boto: Any) -> bool:
    try:
        boto.list_buckets()
    except Exception:
        return False
    return True


def test_tls(tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            pem,
            "-out",
            tmp_path / "crt",
            "-subj",
            "/CN=s3",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    plain = free_port()
    listen = [
        {"address": "127.0.0.1", "port": plain},
        {"address": "127.0.0.1", "port": port, "certificate": str(tmp_path / "crt"), "key": str(pem)},
    ]
    with running(tmp_path / "d") as daemon:
        daemon.reload(listen=listen)
        boto = client(
            f"https://127.0.0.1:{port}", "AKIDEXAMPLE", "wJalrXUtnFEMI+secret", verify=str(tmp_path / "crt")
        )
        until(lambda: _works(boto))
        boto.create_bucket(Bucket="bkt")
        content = os.urandom(6 * 1024**2)
        # With TLS botocore sends chunks that aren't signed, and the checksum in a trailer.
        boto.put_object(Bucket="bkt", Key="k", Body=content)
        found = boto.get_object(Bucket="bkt", Key="k", ChecksumMode="ENABLED")
        assert found["Body"].read() == content and "ChecksumCRC32" in found

        def many() -> None:
            for _ in range(10):
                assert boto.get_object(Bucket="bkt", Key="k")["ContentLength"] == len(content)

        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
