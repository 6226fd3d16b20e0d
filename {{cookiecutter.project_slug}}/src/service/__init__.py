"""The service: application decides, inference thinks, integration touches. Start reading in ARCHITECTURE.md."""
