"""Small studies, evaluated and reported once."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from medlabel.evaluate import study
from medlabel.evaluate.results import StudyResult
from medlabel.params import Params
from medlabel.report import report
from medlabel.report.sources import Source, gather
from tests.evaluate.world import World, small

PUBLISHED = Path(__file__).parents[2] / "resources" / "published_results.csv"
RIGHT = {
    "phantom_clip@5": 0.6,
    "phantom_clip@6": 0.8,
    "phantom_clip@60": 0.99,
    "vit3d": 0.7,
    "wider": 0.6,
    "student": 0.9,
}


@dataclass(frozen=True)
class Reported:
    """A study with its files."""

    world: World
    name: str
    found: StudyResult
    sources: list[Source]

    def path(self, file: str) -> Path:
        return Path(self.world.layout.study(self.name, file))

    def text(self, file: str) -> str:
        """Return a file's text, of an SVG that of its lines joined by spaces."""
        content = self.path(file).read_text(encoding="utf-8")
        return words(content) if file.endswith(".svg") else content

    @property
    def figures(self) -> set[str]:
        return {path.stem for path in self.path("figures").iterdir()}


def words(svg: str) -> str:
    return html.unescape(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)))


@pytest.fixture(scope="session")
def params(default_params: Params) -> Params:
    return small(default_params)


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Callable[[str], Reported]:
    """Make a study's files, evaluate and report it, once."""
    made: dict[str, Reported] = {}

    def once(name: str) -> Reported:
        if name not in made:
            world = World(tmp_path_factory.mktemp(name), params, RIGHT).add(name)
            study.write(params, name, world.layout, PUBLISHED)
            report.write(params, name, world.layout, PUBLISHED)
            made[name] = Reported(world, name, *gather(params, name, world.layout))
        return made[name]

    return once
