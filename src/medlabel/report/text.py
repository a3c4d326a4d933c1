"""Names and numbers as figures, tables and the page print them."""

from __future__ import annotations

from medlabel.evaluate.results import Arm, Estimate, Metric

PHANTOM_MARK = "PHANTOM DATA – drawn, not measured"
MINUS = "\N{MINUS SIGN}"
NONE = "–"

ARMS: dict[Arm, str] = {
    "teacher": "teacher",
    "student": "student",
    "permuted": "student, permuted labels",
    "true": "trained on true labels",
}
# Name, unit, factor and decimals of each metric.
METRICS: dict[Metric, tuple[str, str, float, int]] = {
    "accuracy": ("Accuracy", "%", 100.0, 2),
    "auc": ("AUC", "", 1.0, 3),
    "f1": ("F1", "", 1.0, 3),
    "balanced_accuracy": ("Balanced accuracy", "%", 100.0, 2),
    "average_precision": ("Average precision", "", 1.0, 3),
    "calibration_error": ("Calibration error", "", 1.0, 3),
}
CHANCE_AUC = 0.5


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


def signed(value: float, decimals: int) -> str:
    """Return a number with its sign, such as ``+0.012``; what rounds to zero has none."""
    rounded = round(value, decimals)
    sign = "+" if rounded > 0 else MINUS if rounded < 0 else ""
    return f"{sign}{abs(rounded):.{decimals}f}"


def points(difference: float, decimals: int = 1) -> str:
    """Return a difference of fractions in percentage points with its sign, such as ``+7.9``."""
    return signed(100 * difference, decimals)


def p_value(p: float) -> str:
    """Return ``p = 0.032`` with two significant digits, or ``p < 0.0001`` below that."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def heading(metric: Metric) -> str:
    """Return a metric's name with its unit, such as ``Accuracy (%)``."""
    name, unit, _, _ = METRICS[metric]
    return f"{name} ({unit})" if unit else name


def value(metric: Metric, fraction: float) -> str:
    """Return a score in its metric's unit."""
    _, _, factor, decimals = METRICS[metric]
    return f"{factor * fraction:.{decimals}f}"


def change(metric: Metric, difference: float) -> str:
    """Return a difference of scores with its sign, in its metric's unit."""
    _, _, factor, decimals = METRICS[metric]
    return signed(factor * difference, decimals)


def with_interval(metric: Metric, estimate: Estimate) -> str:
    """Return ``mean (low to high)`` in a metric's unit."""
    mean, low, high = (value(metric, one) for one in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} ({low} to {high})"


def continued(title: str) -> str:
    """Return a title as it goes on after a colon."""
    return f"{title[0].lower()}{title[1:]}"


def titled(name: str, phantom: bool) -> str:
    """Return the name of images, with PHANTOM in capitals before drawn ones."""
    return f"PHANTOM {readable(name.removeprefix('phantom_'))}" if phantom else readable(name)
