"""What Rewindow is measured beside, each a process of its own."""
