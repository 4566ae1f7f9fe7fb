"""The plain database against the contract of a storage: it is what the others are compared with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mix_db.testing.plain import PlainStorage

from mixkit.storage import Storage
from mixkit.testing.storage_change_suite import StorageChangeSuite
from mixkit.testing.storage_conflict_suite import StorageConflictSuite
from mixkit.testing.storage_query_suite import StorageQuerySuite
from mixkit.testing.storage_refusal_suite import StorageRefusalSuite
from mixkit.testing.storage_suite import StorageFixtures, StorageSuite


class Plain(StorageFixtures):
    @pytest.fixture
    def make_storage(self) -> Callable[[], Storage]:
        return PlainStorage


class TestPlain(Plain, StorageSuite):
    pass


class TestPlainQueries(Plain, StorageQuerySuite):
    pass


class TestPlainChanges(Plain, StorageChangeSuite):
    pass


class TestPlainConflicts(Plain, StorageConflictSuite):
    pass


class TestPlainRefusals(Plain, StorageRefusalSuite):
    pass
