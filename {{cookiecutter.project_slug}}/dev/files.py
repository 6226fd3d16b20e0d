"""Files that only their owner may read, written so that nobody ever sees half of one."""

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def keep_private(folder: Path, holding: Iterable[Path] = ()) -> None:
    """Make the folder, or close one of ours, so that nobody else may look into it.

    Left as it is: a folder of everybody, such as /tmp, and one that holds what `holding` names.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    shared = found.st_mode & stat.S_ISVTX or any(path.is_relative_to(folder) for path in holding)
    if found.st_uid == os.geteuid() and not shared:
        folder.chmod(0o700)


def write_private(file: Path, content: bytes) -> None:
    """Write atomically, readable by the owner only."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def write_private_json(file: Path, content: Any) -> None:
    """The same, for JSON."""
    write_private(file, json.dumps(content, indent=2).encode() + b"\n")


def read_json(file: Path) -> dict[str, Any]:
    """The object in the file; empty if there is no file."""
    return dict(json.loads(file.read_bytes())) if file.exists() else {}
