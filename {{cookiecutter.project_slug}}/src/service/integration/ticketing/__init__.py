"""The downstream ticketing system: contract in application/effects/contract.py, two adapters here."""
