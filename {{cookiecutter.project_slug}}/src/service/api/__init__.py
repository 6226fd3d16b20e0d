"""HTTP: routes, authentication, and errors to statuses. It asks the application; it decides nothing."""
