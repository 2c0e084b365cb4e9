"""Runtimes are timed on the warm-up requests of a version, and compared."""

import shutil

import pytest

from kapps import serving
from kapps.errors import UserError


@pytest.mark.slow
def test_runtimes_and_batches(published):
    rows = serving.bench(published.version.parent, seconds=0.001, batches=(1, 3))
    asked = {(row["runtime"], row["signature"], row["batch"]) for row in rows}
    assert asked >= {("tensorflow", "serving_default", 1), ("tensorflow", "from_bytes", 3)}
    assert {("litert", "serving_default", 3)} <= asked
    assert ("litert", "from_bytes", 1) not in asked  # it has no decoder
    measured = [row for row in rows if "reason" not in row]
    # TensorFlow does not freeze a graph with branches twice in one process: then it says why.
    refused = {(row["runtime"], row["signature"]) for row in rows if "reason" in row}
    assert refused <= {("tensorflow, frozen", "from_bytes")}, rows
    for row in measured:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["examples_per_second"] > 0
        if row["runtime"] == "litert":
            assert row["difference"] < 1e-4
    table = serving.bench_table(rows)
    assert table.row_count == len(rows)


def test_a_version_without_requests(tmp_path, published):
    shutil.copytree(published.version, tmp_path / "1")
    shutil.rmtree(tmp_path / "1" / "assets.extra")
    with pytest.raises(UserError, match="no warm-up requests"):
        serving.bench(tmp_path)
