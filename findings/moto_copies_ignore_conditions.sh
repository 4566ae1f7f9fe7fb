#!/usr/bin/env bash
# moto 5.2.5 (boto3 1.44.8): the S3 server heeds conditions of puts, reads and deletes, but copies whatever the conditions of a copy say
# (of its source: If-Match; of its target: If-None-Match: *), so that a test of a lost update passes for the wrong reason.
# Seen: 412 for the put, the read and the delete; 200 and a changed target for both copies.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[server,s3]==5.2.5' boto3==1.44.8
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import socket, subprocess, sys, time

import boto3
from botocore.exceptions import ClientError
from importlib.metadata import version

print("moto", version("moto"), "boto3", version("boto3"))
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
server = subprocess.Popen(
    [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
try:
    for _ in range(150):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    s3 = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    s3.create_bucket(Bucket="shelf")
    s3.put_object(Bucket="shelf", Key="source", Body=b"source")
    s3.put_object(Bucket="shelf", Key="target", Body=b"target")

    def status(call, **arguments):
        try:
            return call(Bucket="shelf", **arguments)["ResponseMetadata"]["HTTPStatusCode"]
        except ClientError as exc:
            return exc.response["ResponseMetadata"]["HTTPStatusCode"]

    other = '"00000000000000000000000000000000"'
    plain = [
        status(s3.put_object, Key="target", Body=b"", IfNoneMatch="*"),
        status(s3.get_object, Key="source", IfMatch=other),
        status(s3.delete_object, Key="source", IfMatch=other),
    ]
    copies = [
        status(s3.copy_object, Key="copy", CopySource="shelf/source", CopySourceIfMatch=other),
        status(s3.copy_object, Key="target", CopySource="shelf/source", IfNoneMatch="*"),
    ]
    target = s3.get_object(Bucket="shelf", Key="target")["Body"].read()
    print("put, read, delete:", plain, "copies:", copies, "target now:", target)
    assert plain == [412, 412, 412] and copies == [200, 200] and target == b"source", "it has changed"
finally:
    server.kill()
    server.wait()
PYTHON
