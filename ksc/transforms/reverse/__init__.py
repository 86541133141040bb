"""Reverse mode: each construct's rule in its own file, put together by ``sweep``."""
