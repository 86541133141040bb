"""What a trace found out, kept beside the built kernels, so that the next process need not trace.

A trace is found again by what the function and all that it reaches are now (see ``reach``), never by a name or a time
alone; where that cannot be told exactly, nothing is kept. See docs/design/0011-warm-start.md.
"""
