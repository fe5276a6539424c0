"""`python -m rewindow`."""

from rewindow.cli import main

if __name__ == "__main__":
    # A process that folds beside us imports this module too.
    main()
