"""The HTTP contract, seen from outside: over memory, or over a live node."""
