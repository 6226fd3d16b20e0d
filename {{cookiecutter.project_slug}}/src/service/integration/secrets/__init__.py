"""Secrets come from Vault or OpenBao."""
