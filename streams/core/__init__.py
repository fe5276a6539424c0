"""The rules of Rewindow, pure: no clock, no randomness, no I/O, no logging."""
