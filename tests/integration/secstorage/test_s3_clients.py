"""The clients that people have: AWS CLI, rclone, s3cmd; each unchanged, each with files large and small."""

import filecmp
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.secstorage.s3_daemon import KEY, SECRET, Daemon

MIB = 1024**2
AWS = Path(sys.executable).parent / "aws"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files to carry around: small, empty, large, and with names that have to be escaped."""
    top = tmp_path / "tree"
    for name, size in (
        ("a.txt", 10),
        ("empty", 0),
        ("dir/b c+&é.bin", 3 * MIB),
        ("dir/deep/er/large", 20 * MIB + 7),
    ):
        file = top / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(size))
    return top


def same(one: Path, other: Path) -> bool:
    names = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert names == {path.relative_to(other) for path in other.rglob("*") if path.is_file()}
    _, differ, missing = filecmp.cmpfiles(one, other, [str(name) for name in names], shallow=False)
    return not differ and not missing


def run(*argv: object, environment: dict[str, str] | None = None, fails: bool = False) -> str:
    words = [str(word) for word in argv]
    # Whoever runs the tests may have settings of their own for these clients.
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_"))}
    mine |= environment or {}
    done = subprocess.run(words, capture_output=True, text=True, env=mine, timeout=300)
    assert bool(done.returncode) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_aws_cli(plain_s3: Daemon, tree: Path, tmp_path: Path) -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": plain_s3.url,
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_MAX_ATTEMPTS": "1",
    }

    def aws(*words: object, fails: bool = False) -> str:
        return run(AWS, *words, environment=environment, fails=fails)

    aws("s3", "mb", "s3://aws-cli")
    aws("s3", "sync", tree, "s3://aws-cli/t")
    assert same(tree, plain_s3.root / "aws-cli" / "t")
    assert "dir/" in aws("s3", "ls", "s3://aws-cli/t/")
    aws("s3", "cp", "--recursive", "s3://aws-cli/t", tmp_path / "back")
    assert same(tree, tmp_path / "back")
    aws("s3", "mv", "s3://aws-cli/t/dir/deep/er/large", "s3://aws-cli/moved")
    assert (plain_s3.root / "aws-cli" / "moved").stat().st_size == 20 * MIB + 7
    url = aws("s3", "presign", "s3://aws-cli/t/a.txt").strip()
    run("wget", "-q", "-O", tmp_path / "signed", url)
    assert (tmp_path / "signed").read_bytes() == (tree / "a.txt").read_bytes()
    aws("s3", "rb", "s3://aws-cli", fails=True)
    aws("s3", "rb", "--force", "s3://aws-cli")
    assert not (plain_s3.root / "aws-cli").exists()


def test_rclone(plain_s3: Daemon, tree: Path, tmp_path: Path) -> None:
    environment = {
        "RCLONE_CONFIG": str(tmp_path / "none"),
        "RCLONE_CONFIG_S_TYPE": "s3",
        "RCLONE_CONFIG_S_PROVIDER": "Other",
        "RCLONE_CONFIG_S_ACCESS_KEY_ID": KEY,
        "RCLONE_CONFIG_S_SECRET_ACCESS_KEY": SECRET,
        "RCLONE_CONFIG_S_ENDPOINT": plain_s3.url,
        "RCLONE_CONFIG_S_REGION": "us-east-1",
        "RCLONE_S3_UPLOAD_CUTOFF": "5M",
        "RCLONE_LOW_LEVEL_RETRIES": "1",
        "RCLONE_RETRIES": "1",
    }

    def rclone(*words: object) -> str:
        return run("rclone", *words, environment=environment)

    rclone("mkdir", "s:rclone")
    rclone("sync", tree, "s:rclone/t")
    assert same(tree, plain_s3.root / "rclone" / "t")
    assert "0 differences found" in rclone("check", "--download", tree, "s:rclone/t")
    # Times are kept, so nothing is to be done again.
    assert "There was nothing to transfer" in rclone("sync", "-v", tree, "s:rclone/t")
    rclone("copy", "s:rclone/t", tmp_path / "back")
    assert same(tree, tmp_path / "back")
    rclone("moveto", "s:rclone/t/a.txt", "s:rclone/b.txt")
    assert "b.txt" in rclone("lsf", "s:rclone")
    rclone("purge", "s:rclone")
    assert not (plain_s3.root / "rclone").exists()


def test_s3cmd(plain_s3: Daemon, tree: Path, tmp_path: Path) -> None:
    host = plain_s3.url.removeprefix("http://")
    options = (
        "--config=/dev/null",
        f"--access_key={KEY}",
        f"--secret_key={SECRET}",
        f"--host={host}",
        "--no-ssl",
        f"--host-bucket={host}",
        "--region=us-east-1",
        "--no-progress",
        "--multipart-chunk-size-mb=5",
    )

    def s3cmd(*words: object) -> str:
        return run("s3cmd", *options, *words)

    s3cmd("mb", "s3://s3cmd")
    s3cmd("sync", f"{tree}/", "s3://s3cmd/t/")
    assert same(tree, plain_s3.root / "s3cmd" / "t")
    assert "large" in s3cmd("ls", "--recursive", "s3://s3cmd")
    s3cmd("sync", "s3://s3cmd/t/", f"{tmp_path}/back/")
    assert same(tree, tmp_path / "back")
    assert "MD5 sum" in s3cmd("info", "s3://s3cmd/t/a.txt")
    s3cmd("setacl", "--acl-public", "s3://s3cmd/t/a.txt")
    run("wget", "-q", "-O", tmp_path / "public", f"{plain_s3.url}/s3cmd/t/a.txt")
    s3cmd("cp", "s3://s3cmd/t/a.txt", "s3://s3cmd/copy")
    s3cmd("del", "--recursive", "--force", "s3://s3cmd")
    s3cmd("rb", "s3://s3cmd")
    assert not (plain_s3.root / "s3cmd").exists()
