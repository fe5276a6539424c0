"""What providers and their friends write down, as messages of neutral parts, a module for each."""
