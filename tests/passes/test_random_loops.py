"""Random programs of loops: every pass keeps what they and their derivatives give, and where they stop.

``KSC_TEST_EXAMPLES`` makes more of them, as for other random programs.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.strategies.loops import FAMILIES, loop_program
from tests.strategies.loops_checks import LETTERS, check

FACTOR = float(os.environ.get("KSC_TEST_EXAMPLES", "1"))

CHOSEN = (
    ("added_up", 1, "b"),
    ("products", 0, "b"),
    ("table", 0, ""),
    ("carries", 0, ""),
    ("scattered", 0, "jacobian"),
    ("products", 0, "j"),
    ("checked", 1, "v"),
    # What was kept of a sum for one reader was read by another that needs something else of it.
    ("tree", 52, "b"),
)
"""Programs and derivations that change in most of the passes below, and take little time."""

LOOKED_FOR = {
    "kept": "kept",
    "carries": "carries",
    "supports": "tree",
    "wanted": "table",
    "lookups": "lookups",
    "columns": "columns",
    "divisors": "quotients",
    "added up": "added_up",
    "batches": "products",
    "joint": "loss",
    "stores": "stored",
    "starts": "starts",
    "leftovers": "products",
    "order": "columns",
    "additions": "products",
    "elements": "normalised",
    "tabulate": "nested",
    "factors": "normalised",
}
"""Passes, each with the family of programs that it changes often."""


def test_passes_keep_what_programs_mean() -> None:
    changed = {name for family, seed, letters in CHOSEN for name in check(loop_program(seed, family), letters)}
    assert len(changed & LOOKED_FOR.keys()) > 0.75 * len(LOOKED_FOR), f"nothing for {LOOKED_FOR.keys() - changed} to do"


if FACTOR > 1:

    @pytest.mark.parametrize("family", FAMILIES)
    def test_passes_keep_what_more_programs_mean(family: str) -> None:
        """In a fifth of the programs of a family there is something to do for the pass that it is written for."""
        seeds = range(round(2 * FACTOR))
        changed: Counter[str] = Counter()
        for seed in seeds:
            changed.update({name for letters in LETTERS for name in check(loop_program(seed, family), letters)})
        for name, of in LOOKED_FOR.items():
            assert of != family or changed[name] > 0.2 * len(seeds), f"{name} changes {changed[name]} of {len(seeds)}"
