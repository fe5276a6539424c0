"""What stops a command: one sentence for whoever typed it."""


class CannotStart(Exception):
    """Says what happened and what to do; the command prints it and exits with a status of 1."""
