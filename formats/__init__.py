"""The shapes of providers: what they say becomes messages of neutral parts, and windows become what
they take. Pure: no I/O, no clock, no randomness."""
