"""Secrets of our own kinds, which detect-secrets does not know: tokens of Vault and OpenBao, our API keys."""

import re

from detect_secrets.plugins.base import RegexBasedDetector


class VaultTokenDetector(RegexBasedDetector):
    """Service, batch and recovery tokens: `hvs.` and the like, `s.` as OpenBao writes it."""

    secret_type = "Vault Token"  # pragma: allowlist secret
    denylist = (re.compile(r"\b(?:hv[sbr]\.[A-Za-z0-9_-]{20,}|[sbr]\.[A-Za-z0-9]{24}(?![A-Za-z0-9]))"),)


class ServiceKeyDetector(RegexBasedDetector):
    """API keys of this service: `svk_`, an id, a secret."""

    secret_type = "Service API Key"  # pragma: allowlist secret
    denylist = (re.compile(r"\bsvk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}"),)
