"""Text that every part of the service can hold: the database, JSON on the wire, and logs. And whole numbers."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field


def _storable(text: str) -> str:
    """Postgres text cannot hold NUL, and UTF-8 cannot hold a lone surrogate: refuse both at the border."""
    if "\x00" in text:
        raise ValueError("must not contain the NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return text


def _whole(number: object) -> object:
    """JSON does not tell 5.0 from 5; strict validation does."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


WHOLE = BeforeValidator(_whole)
STORABLE = AfterValidator(_storable)
Name = Annotated[str, Field(max_length=1000), STORABLE]
