"""The text form of the IR: printing, reading, and comparing programs. docs/SYNTAX.md is its grammar."""

from ksc.ir.text.canonical import alpha_equal, fingerprint
from ksc.ir.text.printer import to_text

__all__ = ["alpha_equal", "fingerprint", "to_text"]
