"""How the stand-ins call themselves, so that nobody takes them for the real thing."""

MODEL_IDS = {"stand-in-primary": "stand-in-primary-1", "stand-in-backup": "stand-in-backup-1"}
OTHER_MODEL_ID = "stand-in-other-9"
TICKETING = "stand-in-ticketing"
HEADERS = {"x-stand-in": "true"}
NOTICE = "STAND-IN, not a real system"
