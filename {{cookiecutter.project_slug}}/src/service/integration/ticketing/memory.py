"""The simplest ticketing there is: a dictionary. For tests and for trying the service without a downstream."""

from dataclasses import dataclass, field

from service.application.decision import JsonObject
from service.application.effects.contract import EffectRefused


@dataclass(slots=True)
class MemoryTicketing:
    """Keeps tickets by key; forgets them with the process."""

    tickets: dict[str, JsonObject] = field(default_factory=dict)

    async def create(self, key: str, body: JsonObject) -> str:
        """The reference of the ticket under `key`, created on the first call."""
        known = self.tickets.setdefault(key, body)
        if known != body:
            raise EffectRefused("the key is in use for another ticket")
        return f"M-{list(self.tickets).index(key) + 1:06d}"
