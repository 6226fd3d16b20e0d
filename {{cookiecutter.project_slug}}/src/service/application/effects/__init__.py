"""Writing decisions to downstream systems, exactly once in effect, however often a worker dies."""
