"""The text form of the IR: printing, reading, and comparing programs. docs/SYNTAX.md is its grammar."""

from ksc.ir.text.canonical import alpha_equal, fingerprint
from ksc.ir.text.printer import to_text
from ksc.ir.text.reader import Module, RewriteRule, parse, parse_module
from ksc.ir.text.run import run

__all__ = ["Module", "RewriteRule", "alpha_equal", "fingerprint", "parse", "parse_module", "run", "to_text"]
