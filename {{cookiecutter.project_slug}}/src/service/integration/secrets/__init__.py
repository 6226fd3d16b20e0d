"""Secrets come from Vault or OpenBao, or from files that its agent mounts, and are kept fresh while it runs."""
