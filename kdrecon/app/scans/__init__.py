"""Scans of one person as files: read to be reconstructed, and written in the kind and geometry that they came in."""
