"""The application's questions, answered from flags. Whatever goes wrong, the answer is "off"."""

import uuid

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import FeatureProvider

from service.application.identity import Caller
from service.application.release import Release
from service.integration.database.known_releases import SqlReleases


class FlagSwitches:
    """`Rollout` and `EffectsSwitch`. Starts the provider; `internal_tenants` are the first to get anything new."""

    def __init__(
        self, provider: FeatureProvider, releases: SqlReleases, internal_tenants: frozenset[str] = frozenset()
    ) -> None:
        self._releases, self._internal_tenants = releases, internal_tenants
        # OpenFeature's registry is global; a domain of its own keeps two services in one process apart.
        domain = f"service-{uuid.uuid4()}"
        api.set_provider_and_wait(provider, domain)
        self._client = api.get_client(domain)

    def ai_on(self, use_case: str, caller: Caller, customer_ref: str | None) -> bool:
        who = self._who(caller, customer_ref)
        return self._on("ai.enabled", who) and self._on(f"{use_case}.ai", who)

    def auto_on(self, use_case: str, caller: Caller, customer_ref: str | None) -> bool:
        return self._on(f"{use_case}.auto", self._who(caller, customer_ref))

    def effects_on(self) -> bool:
        return self._on("effects.enabled", EvaluationContext())

    def release(self, use_case: str, caller: Caller, customer_ref: str | None) -> Release | None:
        who = self._who(caller, customer_ref)
        name = self._client.get_string_value(f"{use_case}.release", "", who)
        return self._releases.find(use_case, name)

    def _on(self, flag: str, who: EvaluationContext) -> bool:
        return self._client.get_boolean_value(flag, False, who)

    def _who(self, caller: Caller, customer_ref: str | None) -> EvaluationContext:
        # Sticky by customer where one is named, else by tenant: the same customer always gets the same answer.
        return EvaluationContext(
            customer_ref or caller.tenant,
            {
                "tenant": caller.tenant,
                "subject": caller.subject,
                "roles": sorted(role.value for role in caller.roles),
                "internal": caller.tenant in self._internal_tenants,
            },
        )
