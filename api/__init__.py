"""The HTTP layer: thin. It checks shapes, asks the store, and joins stored bytes into answers."""
