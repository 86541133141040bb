"""Content-addressed builds of generated sources."""
