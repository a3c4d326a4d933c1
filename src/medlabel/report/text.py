"""Numbers and names as figures, tables and the page print them."""

from __future__ import annotations

PHANTOM_MARK = "PHANTOM DATA – drawn, not measured"
MINUS = "\N{MINUS SIGN}"


def readable(name: str) -> str:
    """Return a name from `params.yaml` with spaces in place of underscores."""
    return name.replace("_", " ")


def shorten(name: str, length: int) -> str:
    """Return a readable name of at most `length` characters, cut in its middle.

    The middle goes because names of one family often begin alike.
    """
    name = readable(name)
    if len(name) <= length:
        return name
    kept = length - 1
    return f"{name[: (kept + 1) // 2].rstrip()}…{name[len(name) - kept // 2 :].lstrip()}"


def percent(fraction: float, decimals: int = 1) -> str:
    """Return a fraction in per cent, such as ``88.4 %``."""
    return f"{100 * fraction:.{decimals}f} %"


def points(difference: float, decimals: int = 1) -> str:
    """Return a difference of fractions in percentage points with its sign, such as ``+7.9``."""
    rounded = round(100 * difference, decimals)
    sign = "+" if rounded > 0 else MINUS if rounded < 0 else ""
    return f"{sign}{abs(rounded):.{decimals}f}"


def p_value(p: float) -> str:
    """Return ``p = 0.032`` with two significant digits, or ``p < 0.0001`` below that."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
