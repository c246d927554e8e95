"""Whatever is done in whatever order: the store is what a dictionary of versions would be."""

from typing import Any

import hypothesis.strategies as st
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.integration.secstorage.s3_daemon import Daemon

KEYS = st.sampled_from(["a", "a/", "a/b", "a/b/c", "a-b", "a//b", "%", "a%", "é/..", "x" * 500])
BODIES = st.binary(max_size=20)


def machine(s3: Daemon) -> type[RuleBasedStateMachine]:
    names = iter(range(10**6))

    class Store(RuleBasedStateMachine):
        """Versions by key, the oldest first: (version, content); None is a delete marker's content."""

        @initialize()
        def begin(self) -> None:
            self.boto: Any = s3.client()
            self.bucket = f"model-{next(names)}"
            self.boto.create_bucket(Bucket=self.bucket)
            self.versioning = ""
            self.versions: dict[str, list[tuple[str, bytes | None]]] = {}

        def current(self, key: str) -> bytes | None:
            return self.versions[key][-1][1] if self.versions.get(key) else None

        def add(self, key: str, version: str, content: bytes | None) -> None:
            kept = [each for each in self.versions.get(key, []) if version != "null" or each[0] != "null"]
            self.versions[key] = [*kept, (version, content)]

        @rule(key=KEYS, body=BODIES)
        def put(self, key: str, body: bytes) -> None:
            made = self.boto.put_object(Bucket=self.bucket, Key=key, Body=body)
            assert ("VersionId" in made) == bool(self.versioning)
            self.add(key, made.get("VersionId", "null"), body)

        @rule(key=KEYS, body=BODIES)
        def put_if_none(self, key: str, body: bytes) -> None:
            try:
                made = self.boto.put_object(Bucket=self.bucket, Key=key, Body=body, IfNoneMatch="*")
            except ClientError:
                assert self.current(key) is not None
            else:
                assert self.current(key) is None
                self.add(key, made.get("VersionId", "null"), body)

        @rule(key=KEYS, source=KEYS)
        def copy(self, key: str, source: str) -> None:
            content = self.current(source)
            try:
                made = self.boto.copy_object(
                    Bucket=self.bucket,
                    Key=key,
                    CopySource={"Bucket": self.bucket, "Key": source},
                    MetadataDirective="REPLACE",
                )
            except ClientError as error:
                assert error.response["Error"]["Code"] == "NoSuchKey" and content is None
            else:
                assert content is not None
                self.add(key, made.get("VersionId", "null"), content)

        @rule(key=KEYS)
        def delete(self, key: str) -> None:
            found = self.boto.delete_object(Bucket=self.bucket, Key=key)
            if self.versioning:
                assert found["DeleteMarker"]
                self.add(key, found["VersionId"], None)
            else:
                self.versions.pop(key, None)

        @rule(key=KEYS, place=st.integers(0, 5))
        def delete_version(self, key: str, place: int) -> None:
            versions = self.versions.get(key, [])
            if versions and self.versioning:
                version = versions.pop(place % len(versions))
                self.boto.delete_object(Bucket=self.bucket, Key=key, VersionId=version[0])

        @rule(status=st.sampled_from(["Enabled", "Suspended"]))
        def set_versioning(self, status: str) -> None:
            self.boto.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": status})
            self.versioning = status

        @rule(key=KEYS)
        def get(self, key: str) -> None:
            content = self.current(key)
            try:
                found = self.boto.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                assert error.response["Error"]["Code"] == "NoSuchKey" and content is None
            else:
                assert found["Body"].read() == content

        @rule(prefix=st.sampled_from(["", "a", "a/", "é", "a/b"]), delimiter=st.sampled_from(["", "/", "b"]))
        def list_objects(self, prefix: str, delimiter: str) -> None:
            wanted = set()
            for key in self.versions:
                if self.current(key) is not None and key.startswith(prefix):
                    end = key.find(delimiter, len(prefix)) if delimiter else -1
                    wanted.add(key if end < 0 else key[: end + len(delimiter)] + "\n")
            pages = self.boto.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": 2}
            )
            found = []
            for page in pages:
                found += [each["Key"] for each in page.get("Contents", [])]
                found += [each["Prefix"] + "\n" for each in page.get("CommonPrefixes", [])]
            assert sorted(found) == sorted(wanted)

        @invariant()
        def same_versions(self) -> None:
            if not getattr(self, "bucket", None):
                return
            page = self.boto.list_object_versions(Bucket=self.bucket)
            found = [
                (each["Key"], each["VersionId"], each["IsLatest"])
                for name in ("Versions", "DeleteMarkers")
                for each in page.get(name, [])
            ]
            wanted = [
                (key, version, place == len(versions) - 1)
                for key, versions in self.versions.items()
                for place, (version, _) in enumerate(versions)
            ]
            assert sorted(found) == sorted(wanted)
            order = [each["Key"] for each in page.get("Versions", [])]
            assert order == sorted(order, key=str.encode)

    return Store


@pytest.mark.parametrize("examples", [8])
def test_the_store_is_like_a_dictionary(s3: Daemon, examples: int) -> None:
    run_state_machine_as_test(
        machine(s3),
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
