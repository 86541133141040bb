"""What the pages of the site take from the code when they are built: tables, examples with their output, C++, figures.

A line ``<!-- generate: NAME ARGUMENTS -->`` of a page stands for the Markdown that the generator of that name gives.
"""
