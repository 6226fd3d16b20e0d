"""OpenTelemetry, wired once per process, and logs that carry the trace id."""
