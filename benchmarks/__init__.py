"""Suites as data, the runner, records, statistics, the report and the `gqn-bench` command."""

if __name__ != "gqn_transfer.benchmarks":
    raise ImportError("import gqn_transfer.benchmarks, not benchmarks: see docs/decisions/0001-layout.md")
