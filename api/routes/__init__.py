"""One file for each thing that a path names."""
