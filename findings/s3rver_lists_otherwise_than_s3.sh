#!/usr/bin/env bash
# s3rver 3.7.1 (boto3 1.44.8): S3 lists keys in the order of their UTF-8 bytes, where "." is before "/"; this server
# walks through folders of a disk, and lists what is in "p/" before "p.x". A common prefix, which is to end with the
# delimiter, ends after its first character where it has two. Conditions of puts and If-Match of a read are passed
# over.
# Seen: ["p/1", "p/q/2", "p.x"], the common prefix "p/q" for "q/", 200 for three conditions that are 412 to S3.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts s3rver@3.7.1
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.44.8
cat >server.js <<'JAVASCRIPT'
const S3rver = require("s3rver");
const configureBuckets = [{ name: "shelf" }];
const options = { port: 0, address: "127.0.0.1", directory: "objects", silent: true, configureBuckets };
new S3rver(options).run().then((address) => console.log(address.port));
JAVASCRIPT
"$folder/venv/bin/python" - <<'PYTHON'
import subprocess
from importlib.metadata import version

import boto3
from botocore.exceptions import ClientError

print("s3rver 3.7.1, boto3", version("boto3"))
server = subprocess.Popen(["node", "server.js"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
try:
    port = int(server.stdout.readline())
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="S3RVER",
        aws_secret_access_key="S3RVER",
    )
    for key in ("p.x", "p/1", "p/q/2"):
        s3.put_object(Bucket="shelf", Key=key, Body=b"text")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="shelf")["Contents"]]
    prefixes = [item["Prefix"] for item in s3.list_objects_v2(Bucket="shelf", Delimiter="q/")["CommonPrefixes"]]

    def status(call, **arguments):
        try:
            return call(Bucket="shelf", Key="p.x", **arguments)["ResponseMetadata"]["HTTPStatusCode"]
        except ClientError as exc:
            return exc.response["ResponseMetadata"]["HTTPStatusCode"]

    other = '"00000000000000000000000000000000"'
    conditions = [
        status(s3.put_object, Body=b"", IfNoneMatch="*"),
        status(s3.put_object, Body=b"", IfMatch=other),
        status(s3.get_object, IfMatch=other),
    ]
    print("keys:", keys, "prefixes:", prefixes, "conditions:", conditions)
    assert keys == ["p/1", "p/q/2", "p.x"] and sorted(keys) == ["p.x", "p/1", "p/q/2"], "it has changed"
    assert prefixes == ["p/q"] and conditions == [200, 200, 200], "it has changed"
finally:
    server.kill()
    server.wait()
PYTHON
