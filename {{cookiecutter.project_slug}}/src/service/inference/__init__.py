"""Inference thinks: it asks models, within limits, and hands back validated outcomes or a reason."""
