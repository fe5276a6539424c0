"""`python -m rewindow`."""

from rewindow.cli import main

main()
