"""Tests mirror the sources; `support` has what they share."""
