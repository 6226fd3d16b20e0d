"""Settings refuse what production must not have, each in one line."""

import pytest

from service.settings import Secrets, Settings, SettingsError, require

GOOD = {
    "PROFILE": "production",
    "DATABASE_URL": "postgresql://db.internal/service",
    "VAULT_ADDR": "https://vault.internal:8200",
    "MODEL_URL": "https://models.internal/v1",
    "MODEL_NAME": "real-model",
    "BUDGET_TENANT_USD": "50",
    "BUDGET_RELEASE_USD": "500",
    "PII_NAMES_EXCEPTION": "Jo Doe, 2999-12-31, the form has no field for a name",
}
TOKENS = {"OIDC_ISSUER": "https://idp.example", "OIDC_AUDIENCE": "us"}


@pytest.fixture
def environment(monkeypatch):
    for name in [
        *GOOD,
        *TOKENS,
        "OIDC_JWKS_URL",
        *(field.upper() for field in Secrets.model_fields),
        "BACKUP_MODEL_NAME",
        "PORT",
        "PGPASSWORD",
    ]:
        monkeypatch.delenv(name, raising=False)

    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


def started() -> Settings:
    """What the API process reads and refuses before it does anything."""
    settings = Settings()
    assert settings.database_url
    settings.refuse_unbounded_spending()
    settings.refuse_unseen_names()
    return settings


def test_development_needs_nothing(environment):
    assert started().database_url.startswith("sqlite:////")


def test_a_production_environment_is_accepted(environment):
    environment(**GOOD, **TOKENS)
    assert started().profile == "production"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"DATABASE_URL": "sqlite:////var/x.db"}, "needs Postgres"),
        ({"DATABASE_URL": ""}, "needs Postgres"),
        ({"DATABASE_URL": "postgresql://u:secret@db/x"}, "password in DATABASE_URL"),  # pragma: allowlist secret
        ({"DATABASE_URL": "postgresql://db/x?user=u&password=secret"}, "password in DATABASE_URL"),
        ({"MODEL_NAME": "stand-in-primary-1"}, "stand-in"),
        ({"DATABASE_URL": "postgresql://db/x?p%61ssword=secret"}, "password in DATABASE_URL"),
        ({"MODEL_URL": "https://u:secret@models/v1"}, "password in MODEL_URL"),  # pragma: allowlist secret
        ({"VAULT_ADDR": "https://u:secret@vault"}, "password in VAULT_ADDR"),  # pragma: allowlist secret
        ({"MODEL_NAME": "Stand-In-x"}, "stand-in"),
        ({"BACKUP_MODEL_NAME": "stand-in-backup-1"}, "stand-in"),
        ({"MODEL_API_KEY": "sk-1"}, "unset MODEL_API_KEY"),  # pragma: allowlist secret
        ({"TICKETING_TOKEN": "t"}, "unset TICKETING_TOKEN"),
        ({"PGPASSWORD": "p"}, "unset PGPASSWORD"),
        ({"BUDGET_TENANT_USD": ""}, "BUDGET_TENANT_USD"),
        ({"BUDGET_RELEASE_USD": ""}, "BUDGET_RELEASE_USD"),
        ({"BUDGET_TENANT_USD": "-1"}, "BUDGET_TENANT_USD"),
        ({"BUDGET_TENANT_USD": "nan"}, "BUDGET_TENANT_USD"),
        ({"PII_NAMES_EXCEPTION": ""}, "PII_SPACY_MODEL"),
        ({"PII_NAMES_EXCEPTION": "Jo Doe, 2026-01-01, why"}, "ended on 2026-01-01"),
        ({"PII_NAMES_EXCEPTION": "Jo Doe, soon, why"}, "YYYY-MM-DD"),
        ({"PII_NAMES_EXCEPTION": "Jo Doe, 2999-12-31"}, "YYYY-MM-DD"),
        ({"INFERENCE_URL": "https://a, https://u:secret@b"}, "password in INFERENCE_URL"),  # pragma: allowlist secret
        ({"INFERENCE_URL": "inference.internal:8000"}, "INFERENCE_URL"),
        ({"MODEL_URL": "models.example/v1"}, "MODEL_URL is no URL"),
        ({"BACKUP_MODEL_URL": "ftp://models.example/v1"}, "BACKUP_MODEL_URL is no URL"),
        ({"TICKETING_URL": "tickets.example"}, "TICKETING_URL is no URL"),
        ({"VAULT_ADDR": "vault:8200"}, "VAULT_ADDR is no URL"),
        ({"INFERENCE_URL": "http://a, http://b:99999"}, "INFERENCE_URL"),
        ({"OIDC_ISSUER": "http://idp.example", "OIDC_AUDIENCE": "us"}, "https in OIDC_ISSUER"),
        ({**TOKENS, "OIDC_JWKS_URL": "http://idp.example/keys"}, "https in OIDC_JWKS_URL"),
        (
            {**TOKENS, "OIDC_JWKS_URL": "https://u:secret@idp.example/keys"},  # pragma: allowlist secret
            "password in OIDC_JWKS_URL",
        ),  # pragma: allowlist secret
        ({**TOKENS, "OIDC_ISSUER": "idp.example"}, "OIDC_ISSUER is no URL"),
        ({**TOKENS, "OIDC_AUDIENCE": ""}, "both OIDC_ISSUER and OIDC_AUDIENCE"),
        ({**TOKENS, "OIDC_ISSUER": ""}, "both OIDC_ISSUER and OIDC_AUDIENCE"),
        ({"OIDC_JWKS_URL": "https://idp.example/keys"}, "both OIDC_ISSUER and OIDC_AUDIENCE"),
        ({"MODEL_OUTPUT": "maybe"}, "MODEL_OUTPUT"),
        ({"PORT": "many"}, "PORT"),
        ({"REDIS_URL": "redis://:secret@redis.internal"}, "password in REDIS_URL"),
        ({"REDIS_URL": "redis.internal:6379"}, "REDIS_URL is no URL: write redis"),
        ({"REDIS_URL": "https://redis.internal"}, "REDIS_URL is no URL"),
        ({"REDIS_PASSWORD": "p"}, "unset REDIS_PASSWORD"),
        ({"RATE_PER_MINUTE": "0"}, "RATE_PER_MINUTE"),
        ({"MAX_CONCURRENCY": "0"}, "MAX_CONCURRENCY"),
        ({"PROFILE": "staging"}, "PROFILE"),
    ],
)
def test_production_refuses_in_one_line_that_quotes_no_secret(environment, change, complaint):
    environment(**{**GOOD, **change})
    with pytest.raises(SettingsError, match=complaint) as caught:
        started()
    assert "\n" not in str(caught.value)
    assert "secret@" not in str(caught.value)
    assert "sk-1" not in str(caught.value)


def test_an_inference_process_needs_no_database_and_no_budget(environment):
    environment(**{**GOOD, "DATABASE_URL": "", "BUDGET_TENANT_USD": "", "BUDGET_RELEASE_USD": ""})
    Settings().refuse_unseen_names()


def test_a_model_for_names_makes_the_exception_unnecessary(environment):
    environment(**{**GOOD, "PII_NAMES_EXCEPTION": "", "PII_SPACY_MODEL": "en_core_web_sm"})
    assert started().data.spacy_model == "en_core_web_sm"


def test_production_limits_rates_and_hides_its_documentation_unless_told_otherwise(environment):
    assert (started().rates, started().api_docs) == ((None, None), True)
    environment(**GOOD)
    assert (started().rates, started().api_docs) == ((600, 6000), False)
    environment(RATE_PER_MINUTE="50", API_DOCS="true")
    assert (started().rates, started().api_docs) == ((50, 6000), True)


def test_what_the_shell_calls_like_a_field_is_no_setting(environment):
    environment(**GOOD, PATH="/bin", LANGUAGE="en_US:en", URL="http://elsewhere", NAME="somebody", ADDR="http://x")
    settings = started()
    assert (settings.vault.path, settings.data.language, settings.ticketing.url) == ("", "en", "")
    assert (settings.model.name, settings.vault.addr) == (GOOD["MODEL_NAME"], GOOD["VAULT_ADDR"])


def test_a_dotenv_file_is_not_read(environment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("MODEL_NAME=from-dotenv\nMODEL_API_KEY=from-dotenv\n")
    environment(**{**GOOD, "MODEL_NAME": "real-model"})
    assert Settings().model.name == "real-model"


def test_required_settings_are_named_together():
    with pytest.raises(SettingsError, match="set A, B"):
        require(A="", B=None, C="x")
