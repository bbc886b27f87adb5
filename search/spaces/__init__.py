"""The spaces that are known by name, and the files that describe others."""
