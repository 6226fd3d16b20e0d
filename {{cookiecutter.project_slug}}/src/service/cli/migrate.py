"""`svc migrate`: database, flags and releases brought up to date. Safe to repeat; changes nothing that is there."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.orm import Session

from service.application.errors import Unavailable
from service.application.release import PARAMETERS, Gate, Release
from service.application.triage import contract, rules
from service.application.triage.use_case import USE_CASE as TRIAGE
from service.bootstrap_inference import CODE
from service.inference import prompts
from service.inference.triage import GUARDS_VERSION
from service.integration.database import installation, releases
from service.integration.database.migrate import NoProject, project_root
from service.integration.database.migrate import migrate as migrate_database
from service.integration.database.session import cause_of, open_database
from service.integration.flags import rollout, store
from service.settings import Profile, Settings

ACTOR = "svc migrate"


def migrate() -> None:
    """Bring the database up to date: tables, missing flags of the profile; in development releases from prompts/."""
    config = Settings()
    try:
        prepared = prepare(config, project_root())
    except NoProject:
        raise
    except Unavailable as error:
        raise Unavailable(f"the database cannot be reached: {cause_of(error)}") from error
    print("tables     up to date")
    print(f"flags      {_added(prepared.flags)}")
    if config.profile is Profile.DEVELOPMENT:
        print(f"releases   {_added(prepared.releases)}")
    for name in prepared.undrafted:
        print(f"releases   prompts/ holds {name}, which the database does not: svc release draft")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Names of the flags and releases that `prepare` added, and of those in prompts/ that are for people to draft."""

    flags: list[str]
    releases: list[str]
    undrafted: list[str]


def prepare(config: Settings, root: Path) -> Prepared:
    """Bring the database up to date: tables, the profile's missing flags. Safe to repeat.

    In development a release that is new in prompts/ is made active without evidence or approval, on record; in
    production that takes people.
    """
    seed = json.loads((root / "flags" / f"{config.profile.value}.json").read_text(encoding="utf-8"))
    found = releases_from(root / "prompts")
    database = open_database(config.database_url)

    def fill(session: Session) -> Prepared:
        installation.claim(session, config.profile.value, ACTOR)
        flags = store.add_missing(session, seed, ACTOR)
        known = {row.digest for row in releases.list_drafts(session)}
        new = [release for release in found if release.digest not in known]
        if config.profile is Profile.PRODUCTION:
            return Prepared(flags, [], [release.name for release in new])
        for release in new:
            make_active(session, release, ACTOR)
        return Prepared(flags, [release.name for release in new], [])

    try:
        migrate_database(database, root, ACTOR)
        return database.write_sync(fill)
    finally:
        database.close_sync()


def make_active(session: Session, release: Release, actor: str) -> None:
    """Draft, publish and activate in one go, whatever is missing: development only."""
    releases.draft(session, release, actor)
    gate = Gate(CODE, production=False, override=True)
    releases.publish(session, release.name, actor, gate)
    flag = f"{release.use_case}.release"
    if rollout.active_release(store.read_document(session), flag) != release.name:
        rollout.activate(session, release.name, actor, "new in prompts/", gate)


def releases_from(prompts_dir: Path) -> list[Release]:
    """The releases that the prompt files stand for. Raises `PromptError`."""
    found = []
    for file in sorted(prompts_dir.glob(f"{TRIAGE}/*.md")):
        prompt = prompts.parse(file.read_text(encoding="utf-8"), name=str(file))
        if unknown := prompt.parameters.keys() - PARAMETERS:
            raise prompts.PromptError(f"{file}: parameters may be {', '.join(sorted(PARAMETERS))}, not {unknown}")
        try:
            bundle = {
                "use_case": TRIAGE,
                "prompt_id": prompt.id,
                "prompt_version": prompt.version,
                "prompt": prompt.body,
                "contract_version": contract.VERSION,
                "rules_version": rules.VERSION,
                "guards_version": GUARDS_VERSION,
                **prompt.parameters,
            }
            release = Release.model_validate(bundle, strict=True)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise prompts.PromptError(f"{file}: parameters.{where}: {first['msg']}") from None
        found.append(release)
    return found


def _added(names: list[str]) -> str:
    return f"added: {', '.join(names)}" if names else "up to date"
