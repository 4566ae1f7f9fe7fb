"""What `mixkit doctor` says about mix-crypto."""

from __future__ import annotations

from mixkit.contracts import Check


def checks() -> list[Check]:
    """Whether the algorithms that the FFIs promise are really to be had."""
    import hashlib

    from cryptography import __version__
    from cryptography.hazmat.backends.openssl import backend

    found = [Check("cryptography", "ok", f"cryptography {__version__}, {backend.openssl_version_text()}")]
    for name in ("md5", "sha1"):
        try:
            hashlib.new(name, b"", usedforsecurity=False)
        except ValueError:
            found.append(
                Check(
                    f"crypto {name}",
                    "warning",
                    f"this Python's OpenSSL refuses {name}; $crypto_{name} fails",
                    "use a Python whose OpenSSL is not restricted, or do without the old digest",
                )
            )
    return found
