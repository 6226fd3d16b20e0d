"""What a call costs, from a price table that ships with a package: no network. Unknown models cost "unknown"."""

from collections.abc import Callable

Price = Callable[[int, int], float | None]


class BadPrice(ValueError):
    """A price that cannot be read; the message says how to write it."""


def price_of(model: str, given: str = "") -> Price:
    """US dollars for (input, output) tokens of a model: by the `given` price, else by the table's list price.

    `given` is "INPUT/OUTPUT" in US dollars per million tokens, such as "0.15/0.60". Raises `BadPrice`.
    """
    if given:
        read, written = _parsed(given)
        return lambda input_tokens, output_tokens: (input_tokens * read + output_tokens * written) / 1_000_000
    from genai_prices import Usage, calc_price  # a quarter of a second, which stand-ins need not spend

    def listed(input_tokens: int, output_tokens: int) -> float | None:
        try:
            return float(calc_price(Usage(input_tokens=input_tokens, output_tokens=output_tokens), model).total_price)
        except LookupError:
            return None

    return listed if listed(1, 1) is not None else lambda _input, _output: None


def _parsed(given: str) -> tuple[float, float]:
    read, _, written = given.partition("/")
    try:
        prices = float(read), float(written)
    except ValueError:
        raise BadPrice(f"{given!r} is no price: write INPUT/OUTPUT in USD per million tokens") from None
    if not all(0 <= price < 1_000_000 for price in prices):
        raise BadPrice(f"{given!r} is no price: both numbers must be 0 or more")
    return prices
