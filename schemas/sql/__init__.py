"""Numbered migrations of the archive, applied in order by `streams.archive.migrations`."""
