"""Every contract that outlives a process: log events, facts, topics, limits, SQL, the codec."""
