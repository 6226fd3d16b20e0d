"""`svc migrate`: database, flags and releases brought up to date. Safe to repeat; changes nothing that is there."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.orm import Session

from service.application.release import PARAMETERS, Release
from service.application.triage import contract, rules
from service.application.triage.use_case import USE_CASE as TRIAGE
from service.inference import prompts
from service.inference.triage import GUARDS_VERSION
from service.integration.database.migrate import migrate as migrate_database
from service.integration.database.migrate import project_root
from service.integration.database.releases import fitting, list_releases, publish
from service.integration.database.session import open_database
from service.integration.flags import store
from service.settings import Settings

ACTOR = "svc migrate"


def migrate() -> None:
    """Bring the database up to date: tables, missing flags of the profile, releases from prompts/."""
    prepared = prepare(Settings(), project_root())
    print("tables     up to date")
    print(f"flags      {_added(prepared.flags)}")
    print(f"releases   {_added(prepared.releases)}")
    for name, newest in prepared.overtaken.items():
        use_case = name.rpartition("-")[0]
        print(
            f"svc: prompts/ holds {name}, but {newest} was published later and is `latest`; to go back: "
            f'svc flags set {use_case}.release {name} --reason "..."',
            file=sys.stderr,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` added: names of flags and releases. `overtaken`: what prompts/ holds, and what came after it."""

    flags: list[str]
    releases: list[str]
    overtaken: dict[str, str]


def prepare(config: Settings, root: Path) -> Prepared:
    """Bring the database up to date: tables, the profile's missing flags, releases from prompts/. Safe to repeat."""
    seed = json.loads((root / "flags" / f"{config.profile.value}.json").read_text(encoding="utf-8"))
    found = releases_from(root / "prompts")
    database = open_database(config.database_url)

    def fill(session: Session) -> Prepared:
        flags = store.add_missing(session, seed, ACTOR)
        published = [release.name for release in found if publish(session, release, ACTOR)]
        newest = {row.use_case: row.name for row in reversed(list_releases(session)) if fitting(row)}
        held = {release.name: newest[release.use_case] for release in found}
        return Prepared(flags, published, {n: latest for n, latest in held.items() if latest not in held})

    try:
        migrate_database(database, root)
        return database.write_sync(fill)
    finally:
        database.close_sync()


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
