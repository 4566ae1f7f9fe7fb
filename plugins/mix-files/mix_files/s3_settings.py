"""Settings of the file system `s3`, a part of `[settings.files]`."""

from __future__ import annotations

import os
import re
from typing import Annotated

import msgspec
from msgspec import Meta

from mixkit import outgoing
from mixkit.egress import EgressPolicy
from mixkit.errors import ProfileError
from mixkit.target import EgressDenied, Target, parse_url

__all__ = ["S3Settings"]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,31}/){0,2}", re.ASCII)
_HIDDEN = ("s3_access_key", "s3_secret_key", "s3_session_token")
_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class S3Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the bucket is, and how to get in."""

    s3_bucket: Annotated[str, Meta(description="Bucket of the file system s3; mixkit alone writes it.")] = ""
    s3_prefix: Annotated[
        str, Meta(description="What all keys begin with: up to two names, each with a slash behind it.")
    ] = ""
    s3_endpoint: Annotated[
        str, Meta(description="Where the store is, https://host[:port]; AWS's own in the region if empty.")
    ] = ""
    s3_region: Annotated[str, Meta(min_length=1, description="Region of the bucket.")] = "us-east-1"
    s3_virtual_hosts: Annotated[
        bool, Meta(description="Ask for the bucket as the first part of the host name, not of the path.")
    ] = False
    s3_access_key: Annotated[
        str, Meta(description="Who signs in to the store; AWS_ACCESS_KEY_ID and its fellows if empty.")
    ] = ""
    s3_secret_key: Annotated[str, Meta(description="Its secret.")] = ""
    s3_session_token: Annotated[str, Meta(description="Of credentials that pass; none if empty.")] = ""
    s3_ca_file: Annotated[
        str,
        Meta(
            extra={"names": "authorities"},
            description="PEM file of certificate authorities to trust besides the system's.",
        ),
    ] = ""
    s3_timeout: Annotated[
        float, Meta(gt=0, le=300, description="Seconds to connect to the store, and that it may say nothing.")
    ] = 10.0
    dangerous_s3_mode: Annotated[
        bool, Meta(description="Allow plain http, and every address: loopback, private, cloud metadata.")
    ] = False
    s3_allow_private: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses at which the store may be although they are not public, as 10.1.2.3:9000 or "
            "10.1.0.0/16. A metadata address opens only when named exactly."
        ),
    ] = ()

    def __post_init__(self) -> None:
        if self.s3_bucket and not _BUCKET.fullmatch(self.s3_bucket):
            raise ProfileError(
                "expected a bucket's name, 3 to 63 small letters, digits, dots and hyphens, found "
                f"{self.s3_bucket!r:.80}",
                "settings.files.s3_bucket",
            )
        if not _PREFIX.fullmatch(self.s3_prefix):
            raise ProfileError(
                f"expected nothing, or up to two names of letters, digits, dots, _ and -, each with a slash behind it, "
                f"found {self.s3_prefix!r:.80}",
                "settings.files.s3_prefix",
            )
        if bool(self.s3_access_key) != bool(self.s3_secret_key):
            raise ProfileError(
                "expected both or none, found one", "settings.files.s3_access_key and s3_secret_key"
            )
        try:
            policy = self.s3_policy()
        except ValueError as exc:
            raise ProfileError(str(exc), "settings.files.s3_allow_private") from None
        try:
            target = self.s3_target()
            if target.path != "/":
                raise EgressDenied(target.host, f"expected no path, found {target.path!r:.100}")
            policy.check_target(target)
        except EgressDenied as exc:
            raise ProfileError(
                f"{exc.reason}; settings.files.s3_allow_private and dangerous_s3_mode open more",
                "settings.files.s3_endpoint",
            ) from None

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        said = ", ".join(
            f"{name}={'…' if name in _HIDDEN and value else repr(value)}"[:200]
            for name, value in shown.items()
        )
        return f"{type(self).__name__}({said})"

    def s3_target(self) -> Target:
        """Where the store is. `EgressDenied` for what is no URL."""
        return parse_url(self.s3_endpoint or f"https://s3.{self.s3_region}.amazonaws.com")

    def s3_policy(self) -> EgressPolicy:
        """Where the store may be."""
        return outgoing.policy("http", self.dangerous_s3_mode, self.s3_allow_private)

    def s3_credentials(self) -> tuple[str, str, str]:
        """Access key, its secret and a session token or nothing: of the settings, or of the variables of AWS.

        Raises:
            ProfileError: there are none.
        """
        if self.s3_access_key:
            return self.s3_access_key, self.s3_secret_key, self.s3_session_token
        access, secret, session = (os.environ.get(name, "") for name in _VARIABLES)
        if not access or not secret:
            raise ProfileError(
                "expected credentials of the store, found none; set these, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY",
                "settings.files.s3_access_key and s3_secret_key",
            )
        return access, secret, session
