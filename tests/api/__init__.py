"""The HTTP layer alone, over a store in memory."""
