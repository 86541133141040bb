"""The benchmark script runs; what it measures depends on the machine and is not asserted."""

from __future__ import annotations

from ksc.bench import startup as speed


def test_rows_are_measured_and_printed() -> None:
    rows = list(speed.small_calls(1))
    assert len(rows) == 5
    assert all(row.seconds > 0.0 for row in rows)
    assert "torch.relu" in str(rows[0])
