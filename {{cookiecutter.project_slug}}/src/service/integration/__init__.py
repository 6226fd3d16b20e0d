"""The application's ports, kept with real things: a database, flags, a job engine, other systems."""
