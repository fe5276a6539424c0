"""Route by route: what the contract tests can't see from outside."""
