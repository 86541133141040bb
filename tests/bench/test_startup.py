"""The benchmark script runs; what it measures depends on the machine and is not asserted."""

from __future__ import annotations

from ksc.bench import startup as speed


def test_rows_are_measured_and_printed() -> None:
    rows = list(speed.small_calls(1))
    assert len(rows) == 5
    assert all(row.seconds > 0.0 for row in rows)
    assert "torch.relu" in str(rows[0])


def test_a_cache_is_filled_with_kernels_of_other_keys(tmp_path) -> None:
    key = "0123456789abcdef"
    for place in (tmp_path / f"f-{key}", tmp_path / ".traces"):
        place.mkdir()
    (tmp_path / f"f-{key}" / "f.so").write_text("code")
    (tmp_path / ".traces" / f"f-{key}.json").write_text("{}")
    (tmp_path / ".building").mkdir()
    speed.fill_cache(tmp_path, 3)
    assert len(list(tmp_path.glob("f-*/f.so"))) == 4
    assert len(list(tmp_path.glob(".traces/f-*.json"))) == 4
