"""mixquery and the database in memory against the contract of a storage."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mix_db.storages import Memory, Mixquery

from mixkit.storage import Storage
from mixkit.testing.storage_change_suite import StorageChangeSuite
from mixkit.testing.storage_query_suite import StorageQuerySuite
from mixkit.testing.storage_refusal_suite import StorageRefusalSuite
from mixkit.testing.storage_suite import StorageFixtures, StorageReopenSuite, StorageSuite


class InFiles(StorageFixtures):
    @pytest.fixture
    def make_storage(self) -> Callable[[], Storage]:
        return Mixquery


class InMemory(StorageFixtures):
    @pytest.fixture
    def make_storage(self) -> Callable[[], Storage]:
        return Memory


class TestMixquery(InFiles, StorageSuite):
    pass


class TestMixqueryQueries(InFiles, StorageQuerySuite):
    pass


class TestMixqueryChanges(InFiles, StorageChangeSuite):
    pass


class TestMixqueryRefusals(InFiles, StorageRefusalSuite):
    pass


class TestMixqueryReopened(InFiles, StorageReopenSuite):
    pass


class TestMemory(InMemory, StorageSuite):
    pass


class TestMemoryQueries(InMemory, StorageQuerySuite):
    pass


class TestMemoryChanges(InMemory, StorageChangeSuite):
    pass


class TestMemoryRefusals(InMemory, StorageRefusalSuite):
    pass
