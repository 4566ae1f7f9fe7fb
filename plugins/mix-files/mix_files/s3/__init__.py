"""Files of apps in a bucket of an object store that speaks S3.

An object is the bytes of a file, then the block that says what they are (`mix_files.trailer`), with a number of its
own: so an object's ETag is of one version alone, whatever the store makes it of, and a file and what is said of it are
replaced at once. Its key is `<prefix><workspace>/<folder of the app>` and the file's path, so no key is such as `a//b`.

    gate      all connections: the one egress check, in front of obstore
    store     what obstore is told, and what its errors mean
    book      locks and numbers, in the home of the app
    files     the contract
"""

from __future__ import annotations

__all__: list[str] = []
