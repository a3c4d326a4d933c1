"""Which kinds and findings captioned images show, and which captions name them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """Which kind and which finding each row of a table belongs to.

    Attributes
    ----------
    kinds, findings
        Names, sorted; a finding is a pair of kind and finding.
    measured
        Kinds whose findings measured images tell: what drawn ones show of these does not count.
    kind, finding
        int64 of shape (n,): positions in them; -1 for a finding that is not among them, or where
        the row's image is not of the sort that tells the findings of its kind.
    """

    kinds: list[str]
    findings: list[tuple[str, str]]
    measured: frozenset[str]
    kind: npt.NDArray[np.int64]
    finding: npt.NDArray[np.int64]

    @classmethod
    def of(cls, table: pd.DataFrame, like: Groups | None = None) -> Groups:
        """Sort the rows of a table, by names as `like` has.

        Its columns are those of `features.Captioned.table`.
        """
        measured = like.measured if like else _measured(table)
        tells = table["measured"] == table["kind"].isin(measured)
        pairs = [
            pair if told else None
            for *pair, told in zip(table["kind"], table["finding"], tells, strict=True)
        ]
        kinds = like.kinds if like else sorted(set(table["kind"]))
        told = [tuple(pair) for pair in pairs if pair is not None]
        findings = like.findings if like else sorted(set(told))
        place = {one: number for number, one in enumerate(findings)}
        kind = np.array([kinds.index(one) for one in table["kind"]])
        finding = np.array([-1 if one is None else place.get(tuple(one), -1) for one in pairs])
        return cls(kinds, findings, measured, kind, finding)

    @property
    def kind_of_finding(self) -> npt.NDArray[np.int64]:
        """The kind of each finding."""
        return np.array([self.kinds.index(kind) for kind, _ in self.findings])


def _measured(table: pd.DataFrame) -> frozenset[str]:
    """Return kinds of which measured images show two findings, or that were never drawn."""
    shown = table[table["measured"]].groupby("kind")["finding"].nunique()
    drawn = set(table.loc[~table["measured"], "kind"])
    return frozenset(str(kind) for kind, count in shown.items() if count > 1 or kind not in drawn)


@dataclass(frozen=True)
class Words:
    """Captions, gathered by what they are about: numbers of sentences.

    Attributes
    ----------
    kinds
        For each kind, all its captions: int64 (captions,).
    findings
        For each kind and finding, the captions that name it.
    silent
        For each kind, the captions that name no finding.
    """

    kinds: list[Rows]
    findings: list[Rows]
    silent: list[Rows]


def words_of(table: pd.DataFrame, groups: Groups) -> tuple[list[str], Words]:
    """Gather captions; where none is of a group, its name stands for one."""
    numbers: dict[str, int] = {}

    def said(chosen: pd.Series[bool], name: str) -> Rows:
        sentences = sorted(set(table.loc[chosen, "caption"])) or [name]
        return np.array([numbers.setdefault(one, len(numbers)) for one in sentences])

    kind, named = table["kind"], table["named"]
    words = Words(
        [said(kind == one, one) for one in groups.kinds],
        [
            said((groups.finding == number) & named, finding)
            for number, (_, finding) in enumerate(groups.findings)
        ],
        [said((kind == one) & ~named, one) for one in groups.kinds],
    )
    return list(numbers), words


def one_of_each(groups: list[Rows], chosen: Rows, rng: np.random.Generator) -> Rows:
    """Return a caption of each of the chosen groups."""
    sizes = np.array([len(one) for one in groups])
    first = np.concatenate([[0], sizes[:-1].cumsum()])
    rows: Rows = np.concatenate(groups)[first[chosen] + rng.integers(sizes[chosen])]
    return rows


def means_by(values: torch.Tensor, group: torch.Tensor, groups: Iterable[int]) -> torch.Tensor:
    """Return the mean (groups, length) of the values (n, length) of each group."""
    return torch.stack([values[group == int(one)].mean(dim=0) for one in groups])
