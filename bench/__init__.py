"""Measures Rewindow beside what it could be compared with, in one run, on one machine."""
