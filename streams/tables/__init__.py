"""The tables `windows` and `tails`: written by batches, fenced, in order, restored in bulk."""
