"""The stream side: the pure core, the tables, the agents, and the app that wires them."""
