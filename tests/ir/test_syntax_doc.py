"""Every block of docs/SYNTAX.md is read, printed and read again; those with a main print what the page says."""

import re
from pathlib import Path

import pytest

from ksc.ir.interpret import interpret
from ksc.ir.text import alpha_equal, parse, run, to_text

PAGE = Path(__file__).resolve().parents[2] / "docs" / "SYNTAX.md"
BLOCKS = re.findall(r"```ks\n(.*?)```\n(?:\n```text\n(.*?)```)?", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(("text", "printed"), BLOCKS, ids=range(len(BLOCKS)))
def test_block(text, printed):
    program = parse(text)
    again = to_text(program)
    assert alpha_equal(parse(again), program)
    assert to_text(parse(again)) == again
    if "main" in program.functions:
        assert run(text)[1].strip() == printed.strip()
        assert run(again)[1].strip() == printed.strip()


def test_the_forms_of_the_ir_mean_what_they_say():
    program = parse(BLOCKS[-1][0])
    k, big, rest, box = interpret(program, [[1.0, 2.0], 0.5])
    assert (k, big) == (2, 4.0)
    assert rest.tolist() == [9.0, 4.0]
    assert box[0] == 2.5 and box[1].tolist() == [9.0, 4.0]
