"""The text form of the IR, for highlighting."""

from __future__ import annotations

from pygments.lexer import RegexLexer, words  # type: ignore[import-untyped]
from pygments.token import Comment, Keyword, Name, Number, Punctuation, String, Text  # type: ignore[import-untyped]

_KEYWORDS = (
    "def edef gdef rule box entry let if lam tuple assert for while build reduce withacc acc_add update index size "
    "unbox null require values"
).split()


class KsLexer(RegexLexer):  # type: ignore[misc]
    """KS, as docs/SYNTAX.md describes it."""

    name = "KS"
    aliases = ("ks",)
    tokens = {  # noqa: RUF012  as Pygments wants it
        "root": [
            (r";[^\n]*", Comment.Single),
            (r"#\|", Comment.Multiline, "comment"),
            (r'"(?:\\.|[^"\\])*"', String),
            (r"-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?=[\s()\[\]])", Number),
            (words(("true", "false", "inf", "-inf", "nan"), suffix=r"(?=[\s()\[\]])"), Keyword.Constant),
            (
                words(("Float", "Integer", "Bool", "String", "Tensor", "Vec", "Tuple", "Acc", "Box"), suffix=r"\b"),
                Keyword.Type,
            ),
            (r"(?<=\()" + rf"(?:{'|'.join(_KEYWORDS)})(?=[\s()])", Keyword),
            (r"[()\[\]]|:", Punctuation),
            (r"\|[^|]*\|", Name),
            (r"[^\s()\[\]\";|]+", Name),
            (r"\s+", Text),
        ],
        "comment": [
            (r"#\|", Comment.Multiline, "#push"),
            (r"\|#", Comment.Multiline, "#pop"),
            (r"[^#|]+|.", Comment.Multiline),
        ],
    }
