"""Objects through boto3: what is put is what is got, and is a plain file."""

import io
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from boto3.s3.transfer import TransferConfig

from tests.integration.secstorage.s3_daemon import READER, READER_SECRET, Daemon, files, refused, running

MIB = 1024**2
HARD_KEYS = [
    "a",
    "a/b",
    "a/",
    "a//b",
    "..",
    "../../../etc/passwd",
    ".",
    "./x",
    ".s3/bucket.json",
    "/",
    "//",
    "%",
    "%2E%2E",
    "x" * 1024,
    "é" * 512,
    "\U0001f600\U00020000\U000e0001\U0010ffff\ue000\uffff",
    "tab\tand\nline",
    "nul\0here",
    "+ +&=?#",
    "p" * 300 + "/" + "q" * 600,
    "%empty",
    "~",
    "\x7f",
    "a/b/c",
    ".nfs123",
]


def body(boto: Any, bucket: str, key: str, **more: Any) -> bytes:
    return bytes(boto.get_object(Bucket=bucket, Key=key, **more)["Body"].read())


def keys(boto: Any, bucket: str, **more: Any) -> list[str]:
    pages = boto.get_paginator("list_objects_v2").paginate(Bucket=bucket, **more)
    return [each["Key"] for page in pages for each in page.get("Contents", [])]


def test_hard_keys(boto: Any, bucket: str, s3: Daemon) -> None:
    for key in HARD_KEYS:
        boto.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert keys(boto, bucket) == sorted(HARD_KEYS, key=str.encode)
    assert keys(boto, bucket, PaginationConfig={"PageSize": 1}) == sorted(HARD_KEYS, key=str.encode)
    for key in HARD_KEYS:
        assert body(boto, bucket, key) == key.encode()
    first = boto.list_objects(Bucket=bucket, Delimiter="/")
    assert {each["Prefix"] for each in first["CommonPrefixes"]} >= {"a/", "/", "../", ".s3/"}
    # Nothing outside of the bucket.
    assert {path.name for path in s3.root.parent.iterdir()} == {"root", "s3.json", "errors"}
    for key in HARD_KEYS[:-3]:
        boto.delete_object(Bucket=bucket, Key=key)
    assert sorted(keys(boto, bucket)) == sorted(HARD_KEYS[-3:])


def test_too_long_keys(boto: Any, bucket: str) -> None:
    with refused("KeyTooLongError"):
        boto.put_object(Bucket=bucket, Key="k" * 1025)


def test_objects_are_files(boto: Any, bucket: str, s3: Daemon) -> None:
    boto.put_object(
        Bucket=bucket, Key="photos/2026/cat.jpg", Body=b"meow", ContentType="image/jpeg", Metadata={"a": "b"}
    )
    file = s3.root / bucket / "photos/2026/cat.jpg"
    assert file.read_bytes() == b"meow"
    # What another program writes is an object, too, and nothing is believed of it that was said of another.
    file.write_bytes(b"woof!")
    (s3.root / bucket / "by-hand").write_bytes(b"1234")
    found = boto.get_object(Bucket=bucket, Key="photos/2026/cat.jpg")
    assert found["Body"].read() == b"woof!"
    assert found["Metadata"] == {} and found["ETag"].endswith('-1"')
    assert keys(boto, bucket) == ["by-hand", "photos/2026/cat.jpg"]
    boto.delete_object(Bucket=bucket, Key="photos/2026/cat.jpg")
    assert files(s3.root / bucket) == {"by-hand"}
    assert not (s3.root / bucket / "photos").exists()


def test_what_comes_with_an_object(boto: Any, bucket: str) -> None:
    boto.put_object(
        Bucket=bucket,
        Key="k",
        Body=b"x",
        ContentType="text/x",
        CacheControl="max-age=1",
        ContentDisposition="inline",
        ContentEncoding="gzip",
        ContentLanguage="en",
        Metadata={"one": "1", "two": "x y"},
        Tagging="a=1&b=%20",
    )
    found = boto.head_object(Bucket=bucket, Key="k")
    assert found["ContentType"] == "text/x" and found["CacheControl"] == "max-age=1"
    assert found["ContentDisposition"] == "inline" and found["ContentEncoding"] == "gzip"
    assert found["ContentLanguage"] == "en" and found["Metadata"] == {"one": "1", "two": "x y"}
    tags = boto.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": " "}]
    boto.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    assert boto.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "c", "Value": "3"}]
    # The bytes and what else is known stay.
    assert boto.get_object(Bucket=bucket, Key="k")["Metadata"] == {"one": "1", "two": "x y"}
    boto.delete_object_tagging(Bucket=bucket, Key="k")
    assert boto.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    with refused("MetadataTooLarge"):
        boto.put_object(Bucket=bucket, Key="k", Metadata={"a": "x" * 2049})
    with refused("InvalidTag"):
        boto.put_object(Bucket=bucket, Key="k", Tagging="&".join(f"k{n}=v" for n in range(11)))
    # More than fits into an inode: beside it.
    boto.put_object(
        Bucket=bucket,
        Key="big",
        Metadata={"a": "x" * 2000},
        Tagging="&".join(f"k{n}={'v' * 250}" for n in range(10)),
    )
    assert boto.head_object(Bucket=bucket, Key="big")["Metadata"] == {"a": "x" * 2000}
    answer = boto.get_object(
        Bucket=bucket, Key="k", ResponseContentType="a/b", ResponseContentDisposition="x"
    )
    assert answer["ContentType"] == "a/b" and answer["ContentDisposition"] == "x"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(boto: Any, s3: Daemon, algorithm: str) -> None:
    bucket = f"checksums-{algorithm.lower()}"
    boto.create_bucket(Bucket=bucket)
    made = boto.put_object(Bucket=bucket, Key="k", Body=b"123456789", ChecksumAlgorithm=algorithm)
    found = boto.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert found["Body"].read() == b"123456789"  # botocore verifies it
    assert found[f"Checksum{algorithm}"] == made[f"Checksum{algorithm}"]
    with refused("BadDigest"):
        boto.put_object(
            Bucket=bucket, Key="bad", Body=b"x", **{f"Checksum{algorithm}": made[f"Checksum{algorithm}"]}
        )
    assert keys(boto, bucket) == ["k"]


def test_ranges_and_conditions(boto: Any, bucket: str) -> None:
    etag = boto.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["ETag"]
    assert body(boto, bucket, "k", Range="bytes=2-4") == b"234"
    assert body(boto, bucket, "k", Range="bytes=-3") == b"789"
    assert body(boto, bucket, "k", Range="bytes=8-100") == b"89"
    with refused("InvalidRange"):
        boto.get_object(Bucket=bucket, Key="k", Range="bytes=10-")
    assert body(boto, bucket, "k", IfMatch=etag) == b"0123456789"
    for condition, status in (
        ({"IfMatch": '"x"'}, "412"),
        ({"IfNoneMatch": etag}, "304"),
        ({"IfNoneMatch": "*"}, "304"),
        ({"IfModifiedSince": time.time() + 60}, "304"),
        ({"IfUnmodifiedSince": 10.0}, "412"),
    ):
        with refused(status):
            boto.get_object(Bucket=bucket, Key="k", **condition)
    with refused("PreconditionFailed"):
        boto.put_object(Bucket=bucket, Key="k", IfNoneMatch="*")
    with refused("PreconditionFailed"):
        boto.put_object(Bucket=bucket, Key="k", IfMatch='"other"')
    with refused("NoSuchKey"):
        boto.put_object(Bucket=bucket, Key="none", IfMatch=etag)
    boto.put_object(Bucket=bucket, Key="k", Body=b"new", IfMatch=etag)
    boto.put_object(Bucket=bucket, Key="fresh", IfNoneMatch="*")
    assert body(boto, bucket, "k") == b"new"


def test_one_of_many_wins_a_conditional_put(s3: Daemon, bucket: str, tmp_path: Path) -> None:
    with running(tmp_path, root=s3.root, attributes=s3.attributes) as other:
        won: list[int] = []

        def put(number: int) -> None:
            boto = (s3, other)[number % 2].client()
            try:
                boto.put_object(Bucket=bucket, Key="lock", Body=b"%d" % number, IfNoneMatch="*")
            except boto.exceptions.ClientError as error:
                assert error.response["Error"]["Code"] == "PreconditionFailed"
            else:
                won.append(number)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert body(other.client(), bucket, "lock") == b"%d" % won[0]


def test_two_daemons_are_one_service(s3: Daemon, bucket: str, tmp_path: Path) -> None:
    with running(tmp_path, root=s3.root, attributes=s3.attributes) as second:
        one, two = s3.client(), second.client()
        one.put_object(Bucket=bucket, Key="k", Body=b"1", Metadata={"by": "one"})
        assert two.get_object(Bucket=bucket, Key="k")["Metadata"] == {"by": "one"}
        two.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        one.put_object(Bucket=bucket, Key="k", Body=b"2")
        assert len(two.list_object_versions(Bucket=bucket)["Versions"]) == 2
        # An upload begun here, continued there, completed here.
        upload = one.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
        part = {"Bucket": bucket, "Key": "m", "UploadId": upload}
        etags = [
            boto.upload_part(**part, PartNumber=number, Body=bytes([number]) * 5 * MIB)["ETag"]
            for number, boto in ((1, two), (2, one))
        ]
        parts = [{"PartNumber": number + 1, "ETag": etag} for number, etag in enumerate(etags)]
        two.complete_multipart_upload(**part, MultipartUpload={"Parts": parts})
        assert one.head_object(Bucket=bucket, Key="m")["ContentLength"] == 10 * MIB


def test_transfers_in_parts(boto: Any, bucket: str, s3: Daemon) -> None:
    content = os.urandom(17 * MIB + 5)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    boto.upload_fileobj(
        io.BytesIO(content), bucket, "big", Config=config, ExtraArgs={"Metadata": {"a": "b"}}
    )
    assert (s3.root / bucket / "big").read_bytes() == content
    head = boto.head_object(Bucket=bucket, Key="big")
    assert head["ETag"].endswith('-4"') and head["Metadata"] == {"a": "b"}
    got = io.BytesIO()
    boto.download_fileobj(bucket, "big", got, Config=config)
    assert got.getvalue() == content
    part = boto.get_object(Bucket=bucket, Key="big", PartNumber=4)
    assert part["Body"].read() == content[15 * MIB :] and part["PartsCount"] == 4
    boto.copy({"Bucket": bucket, "Key": "big"}, bucket, "copy", Config=config)
    assert body(boto, bucket, "copy") == content
    boto.copy_object(Bucket=bucket, Key="plain", CopySource={"Bucket": bucket, "Key": "big"})
    assert body(boto, bucket, "plain") == content
    attributes = boto.get_object_attributes(
        Bucket=bucket, Key="big", ObjectAttributes=["ObjectSize", "ObjectParts"]
    )
    assert attributes["ObjectSize"] == len(content) and attributes["ObjectParts"]["TotalPartsCount"] == 4
    assert boto.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert not list((s3.root / bucket / ".s3" / "temporary").iterdir())


def test_uploads_in_parts(boto: Any, bucket: str) -> None:
    upload = boto.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC64NVME")["UploadId"]
    part = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    one = boto.upload_part(**part, PartNumber=1, Body=b"1" * 5 * MIB, ChecksumAlgorithm="CRC64NVME")["ETag"]
    three = boto.upload_part(**part, PartNumber=3, Body=b"3", ChecksumAlgorithm="CRC64NVME")["ETag"]
    assert [each["PartNumber"] for each in boto.list_parts(**part)["Parts"]] == [1, 3]
    assert boto.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["UploadId"] == upload
    # Nothing of it is listed before it is whole.
    assert keys(boto, bucket) == []
    both = [{"PartNumber": 1, "ETag": one}, {"PartNumber": 3, "ETag": three}]
    with refused("InvalidPart"):
        boto.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": three}]})
    with refused("InvalidPart"):
        boto.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 2, "ETag": one}]})
    with refused("InvalidPartOrder"):
        boto.complete_multipart_upload(**part, MultipartUpload={"Parts": both[::-1]})
    small = boto.upload_part(**part, PartNumber=2, Body=b"2", ChecksumAlgorithm="CRC64NVME")["ETag"]
    with refused("EntityTooSmall"):
        parts = [both[0], {"PartNumber": 2, "ETag": small}, both[1]]
        boto.complete_multipart_upload(**part, MultipartUpload={"Parts": parts})
    boto.complete_multipart_upload(**part, MultipartUpload={"Parts": both})
    assert body(boto, bucket, "k") == b"1" * 5 * MIB + b"3"
    whole = boto.put_object(
        Bucket=bucket, Key="same", Body=b"1" * 5 * MIB + b"3", ChecksumAlgorithm="CRC64NVME"
    )
    head = boto.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == whole["ChecksumCRC64NVME"] and head["ChecksumType"] == "FULL_OBJECT"
    with refused("NoSuchUpload"):
        boto.upload_part(**part, PartNumber=1, Body=b"")
    upload = boto.create_multipart_upload(Bucket=bucket, Key="k2")["UploadId"]
    boto.upload_part(Bucket=bucket, Key="k2", UploadId=upload, PartNumber=1, Body=b"x")
    boto.abort_multipart_upload(Bucket=bucket, Key="k2", UploadId=upload)
    with refused("NoSuchUpload"):
        boto.list_parts(Bucket=bucket, Key="k2", UploadId=upload)
    assert keys(boto, bucket) == ["k", "same"]


def test_copies(boto: Any, bucket: str) -> None:
    boto.put_object(
        Bucket=bucket, Key="k é+", Body=b"x", Metadata={"a": "1"}, Tagging="t=1", ContentType="a/b"
    )
    source = {"Bucket": bucket, "Key": "k é+"}
    boto.copy_object(Bucket=bucket, Key="c", CopySource=source)
    found = boto.get_object(Bucket=bucket, Key="c")
    assert (found["Metadata"], found["ContentType"], found["TagCount"]) == ({"a": "1"}, "a/b", 1)
    boto.copy_object(
        Bucket=bucket,
        Key="c",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
        ContentType="c/d",
    )
    found = boto.get_object(Bucket=bucket, Key="c")
    assert (found["Metadata"], found["ContentType"]) == ({"b": "2"}, "c/d")
    with refused("InvalidRequest"):
        boto.copy_object(Bucket=bucket, Key="k é+", CopySource=source)
    boto.copy_object(Bucket=bucket, Key="k é+", CopySource=source, MetadataDirective="REPLACE")
    with refused("NoSuchKey"):
        boto.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "none"})
    with refused("PreconditionFailed"):
        boto.copy_object(Bucket=bucket, Key="c", CopySource=source, CopySourceIfMatch='"x"')


def test_presigned_urls(boto: Any, bucket: str, s3: Daemon) -> None:
    name = {"Bucket": bucket, "Key": "k /é"}
    put = boto.generate_presigned_url("put_object", Params=name)
    assert requests.put(put, data=b"content", timeout=60).status_code == 200
    get = boto.generate_presigned_url("get_object", Params=name)
    assert requests.get(get, timeout=60).content == b"content"
    assert requests.get(get, headers={"Range": "bytes=0-2"}, timeout=60).content == b"con"
    assert requests.delete(get, timeout=60).status_code == 403
    assert requests.get(get.replace("k%20", "l%20"), timeout=60).status_code == 403
    old = s3.client(signature_version="s3").generate_presigned_url("get_object", Params=name)
    assert "AWSAccessKeyId=" in old
    assert requests.get(old, timeout=60).content == b"content"
    assert requests.get(old + "x", timeout=60).status_code == 403
    reader = s3.client(READER, READER_SECRET).generate_presigned_url("put_object", Params=name)
    assert requests.put(reader, data=b"x", timeout=60).status_code == 403
