"""For the tests of plugins: fixtures (`mixkit.testing.pytest_plugin`), strategies, and contract suites."""
