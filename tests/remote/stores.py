#!/usr/bin/env python3
"""Extracts from servers that others wrote: moto as S3, with its check of signatures, and Azurite as Azure where npm has it.

    PHLORA_BIN=target/release/phlora python tests/remote/stores.py

The adapter is that of the files, byte for byte; wrong keys, missing objects and a spool without room (on a small file system in a
namespace of its own) are named with what to do.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data/tiny-llama"
BIN = os.environ.get("PHLORA_BIN", str(ROOT / "target/release/phlora"))
FILES = ["config.json", "model.safetensors"]
# Of Azurite's documentation: the account of every installation of it.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def run(environment, *words):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AZURE_"))}
    return subprocess.run([BIN, *words], env=clean | environment, capture_output=True, text=True, timeout=120)


def extract(environment, scheme, out):
    return run(environment, "extract", f"{scheme}/models/base", f"{scheme}/models/tuned", "-o", str(out), "-q", "--rank", "8")


def full_spool(environment, address, work):
    """A spool on a file system that has no room for the weights."""
    spool, out = work / "spool", work / "never"
    spool.mkdir()
    script = 'spool=$1; shift; mount -t tmpfs -o size=256k none "$spool" || exit 99; "$@"; code=$?; ls -A "$spool"; exit $code'
    space = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(spool)]
    words = [BIN, "extract", f"{address}/base", f"{address}/tuned", "-o", str(out), "-q", "--spool", str(spool)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run([*space, *words], env=clean | environment, capture_output=True, text=True, timeout=120)
    refused(done, address, "tensor", "cannot write to the spool in", str(spool), "name a directory with more room for it")
    assert not out.exists() and done.stdout == "", done.stdout


def succeed(done):
    assert done.returncode == 0, done.stderr
    return done


def refused(done, *parts):
    assert done.returncode == 2 and all(part in done.stderr for part in parts), done.stderr


def weights(adapter):
    return (adapter / "adapter_model.safetensors").read_bytes()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def s3(work, expected):
    # Nine calls make the bucket, its objects and a user; all later ones must be signed by a user who may.
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "9"
    import boto3
    from moto.server import ThreadedMotoServer

    port = free_port()
    server = ThreadedMotoServer(port=port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    made = {"endpoint_url": endpoint, "region_name": "us-east-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    store, people = boto3.client("s3", **made), boto3.client("iam", **made)
    store.create_bucket(Bucket="box")
    for side in ("base", "tuned"):
        for name in FILES:
            store.upload_file(str(DATA / side / name), "box", f"some models/models/{side}/{name}")
    people.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    people.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
    key = people.create_access_key(UserName="reader")["AccessKey"]
    # The one call that is left.
    store.list_buckets()

    right = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_REGION": "us-east-1",
             "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"], "HOME": str(work)}
    succeed(extract(right, "s3://box/some models", work / "s3"))
    assert weights(work / "s3") == expected
    full_spool(right, "s3://box/some models/models", work)
    wrong = right | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    refused(run(wrong, "inspect", "s3://box/some models/models/base/model.safetensors"), "s3://box", "403", "AWS_SECRET_ACCESS_KEY")
    refused(run(right, "inspect", "s3://box/none.safetensors"), "s3://box/none.safetensors", "no such object")
    # The same keys from a profile.
    (work / ".aws").mkdir()
    secret = f"[other]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
    (work / ".aws/credentials").write_text(secret)
    (work / ".aws/config").write_text(f"[profile other]\nregion = us-east-1\nendpoint_url = {endpoint}\n")
    profile = {"AWS_PROFILE": "other", "HOME": str(work)}
    assert "LlamaForCausalLM" in succeed(run(profile, "inspect", "s3://box/some models/models/base")).stdout
    server.stop()
    print("S3 (moto): signed requests, a profile, wrong keys, a missing object and a full spool")


def azure(work, expected):
    port = free_port()
    place = work / "azurite"
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), "azurite@3.37.0"]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    program = [str(place / "node_modules/.bin/azurite-blob"), "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    server = subprocess.Popen([*program, "--skipApiVersionCheck"], cwd=place)
    try:
        for _ in range(100):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        upload(endpoint, "box", None)
        for side in ("base", "tuned"):
            for name in FILES:
                upload(endpoint, f"box/models/{side}/{name}", (DATA / side / name).read_bytes())
        right = {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_KEY": KEY, "AZURE_STORAGE_ENDPOINT": endpoint}
        succeed(extract(right, "az://box", work / "azure"))
        assert weights(work / "azure") == expected
        wrong = right | {"AZURE_STORAGE_KEY": "d3Jvbmc="}
        refused(run(wrong, "inspect", "az://box/models/base/model.safetensors"), "az://box", "403", "AZURE_STORAGE_KEY")
        refused(run(right, "inspect", "az://box/none.gguf"), "az://box/none.gguf", "no such blob")
    finally:
        server.terminate()
        server.wait()
    print("Azure (Azurite): signed requests, a wrong key and a missing blob")


def upload(endpoint, path, content):
    """Makes a container, or a blob with this content."""
    import base64
    import email.utils
    import hashlib
    import hmac
    import urllib.request

    date = email.utils.formatdate(usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": "2021-12-02"}
    query, more, length = "?restype=container", "\nrestype:container", ""
    if content is not None:
        query, more, length = "", "", str(len(content))
        headers["x-ms-blob-type"] = "BlockBlob"
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    kind = "application/octet-stream"
    text = f"PUT\n\n\n{length}\n\n{kind}\n\n\n\n\n\n\n{lines}/{ACCOUNT}/{ACCOUNT}/{path}{more}"
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Type": kind}
    request = urllib.request.Request(f"{endpoint}/{path}{query}", data=content or b"", headers=headers, method="PUT")
    urllib.request.urlopen(request, timeout=30).read()


def main():
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        succeed(run({}, "extract", str(DATA / "base"), str(DATA / "tuned"), "-o", str(work / "near"), "-q", "--rank", "8"))
        expected = weights(work / "near")
        s3(work, expected)
        if shutil.which("npm"):
            azure(work, expected)
        else:
            sys.exit("npm is missing, which installs Azurite")


if __name__ == "__main__":
    main()
