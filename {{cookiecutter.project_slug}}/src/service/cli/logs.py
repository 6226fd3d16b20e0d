"""A prototype's log as rows: CSV or JSON lines, in whatever encoding and with whatever delimiter it was written."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.application.errors import Invalid

BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
DELIMITERS = ",;\t|"
LONGEST_FIELD = 10_000_000  # characters; a longer one is a lost quotation mark


@dataclass(frozen=True, slots=True)
class Row:
    """What stands in the mapped columns of the row that begins in this line; or why nothing can be said of it."""

    line: int
    values: Mapping[str, str]
    wrong: str = ""


def read_log(file: Path, columns: Mapping[str, str]) -> tuple[str, list[Row]]:
    """The encoding, and every row. `columns`: field -> the log's column. Raises `Invalid` when a column is missing."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Invalid(f"{file}: {error.strerror}") from None
    encoding, text = _decoded(content)
    if not text.strip():
        raise Invalid(f"{file}: empty")
    if "\x00" in text:
        raise Invalid(f"{file}: holds NUL characters: save it as UTF-8")
    rows = _json_lines(text, columns) if text.lstrip().startswith("{") else _csv(file, text, columns)
    return encoding, list(rows)


def _decoded(content: bytes) -> tuple[str, str]:
    encodings = [name for bom, name in BOMS.items() if content.startswith(bom)] or ["utf-8", "cp1252"]
    for encoding in encodings:
        try:
            return encoding, content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return "latin-1", content.decode("latin-1")


def _csv(file: Path, text: str, columns: Mapping[str, str]) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    first = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    # Which header has the wanted columns tells the delimiter more surely than csv.Sniffer, which counts in messages.
    headers = [([name.strip() for name in next(csv.reader([first], delimiter=each))], each) for each in DELIMITERS]
    names, delimiter = max(headers, key=lambda found: len(set(columns.values()).intersection(found[0])))
    if missing := [column for column in columns.values() if column not in names]:
        raise Invalid(f"{file}: no column {', '.join(missing)}; there are {', '.join(names)}")
    places = {field: names.index(column) for field, column in columns.items()}
    reader, begins, header_read = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1, False
    try:
        for row in reader:
            line, begins = begins, reader.line_num + 1
            if not row or not header_read:
                header_read = header_read or bool(row)
            elif len(row) != len(names):
                yield Row(line, {}, f"{len(row)} columns, the header has {len(names)}")
            else:
                yield Row(line, {field: row[place] for field, place in places.items()})
    except csv.Error as error:
        yield Row(begins, {}, f"not CSV from here on: {error}")


def _json_lines(text: str, columns: Mapping[str, str]) -> Iterator[Row]:
    for line, written in enumerate(text.split("\n"), start=1):
        if not written.strip():
            continue
        try:
            row = json.loads(written)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            yield Row(line, {}, "not a JSON object")
            continue
        values = {field: "" if row.get(column) is None else row[column] for field, column in columns.items()}
        if wrong := [columns[field] for field, value in values.items() if not isinstance(value, str | int | float)]:
            yield Row(line, {}, f"neither text nor a number: {', '.join(wrong)}")
        else:
            yield Row(line, {field: str(value) for field, value in values.items()})
