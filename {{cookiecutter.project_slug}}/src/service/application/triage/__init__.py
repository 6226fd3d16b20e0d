"""Support-ticket triage: the example use case. CONTRIBUTING.md says how to replace it."""
