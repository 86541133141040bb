"""Rewrites of the IR that keep its meaning; the pipeline and its reasons."""
