"""Data sets: what ships with libraries, published ones with checksums, and your own files."""
