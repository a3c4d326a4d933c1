"""Train the last parts of a pretrained tower on captioned images, then the heads on it."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from medlabel import compute, files, fingerprint
from medlabel.errors import MedlabelError
from medlabel.params import Locked, Tuned
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed
from medlabel.teacher import heads, locked, towers, wordvectors
from medlabel.teacher.features import Captioned
from medlabel.teacher.groups import Groups, Rows, means_by, one_of_each, words_of
from medlabel.teacher.last_parts import LastParts, Reader
from medlabel.teacher.sources import Source

logger = logging.getLogger("medlabel")

CURVE = "curve"  # in the metadata of a cached state
JUDGED = 256  # validation images at a time


def train(
    sources: Sequence[Source],
    folders: Mapping[int, Path],
    settings: Locked,
    seed: int,
    device: str,
    threads: int,
    cache: Path,
) -> None:
    """Train a tower's last parts once, and join it to words once for each pretraining.

    Parameters
    ----------
    sources, folders, settings, seed, device, threads, cache
        As `heads.train` has them; ``settings.tuned`` says how.

    Raises
    ------
    MedlabelError
        When `heads.train` would, the tower has no such parts, or the loss is no number.
    """
    if settings.tuned is None:
        raise MedlabelError("tuned: null given; the parts to train allowed.")
    where = compute.prepare(device, threads)
    found = towers.load(settings.tower, settings.edges[0], seed)
    reader = Reader(settings.tuned, settings, found, cache, where, threads, seed)
    LastParts(found.trunk, settings.tuned.parts, settings.tuned.edge)  # wrong ones end it here
    seen = {split: reader.read(sources, split) for split in ("train", "val")}
    tuned = _tuned(settings, settings.tuned, found, seen, seed, where, cache)
    heads.join(sources, folders, settings, tuned, seed, where, threads, cache)


def _tuned(
    settings: Locked,
    tuned: Tuned,
    found: towers.Tower,
    seen: Mapping[str, Captioned],
    seed: int,
    where: torch.device,
    cache: Path,
) -> towers.Tower:
    """Return the tower with its last parts trained, in this run or in one that was killed."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = cache / f"tuned-{_key(settings, found, seen, seed)}.safetensors"
    if not path.exists():
        state, curve = _Tuning(settings, tuned, found, seen, seed, where).run()
        with files.replacing(path) as partial:
            save_file(state, partial, metadata={CURVE: json.dumps(curve)})
    with safe_open(path, framework="pt") as tensors:
        curve = json.loads(tensors.metadata()[CURVE])
        state = {name: tensors.get_tensor(name) for name in sorted(tensors.keys())}
    found.trunk.load_state_dict({**found.trunk.state_dict(), **state})
    found.trunk.eval().requires_grad_(False)
    facts = {**tuned.model_dump(mode="json"), "sha256": files.digest(path), CURVE: curve}
    name = f"{found.facts['name']}, last parts trained further"
    return replace(found, facts={**found.facts, "name": name, "tuned": facts})


def _key(settings: Locked, found: towers.Tower, seen: Mapping[str, Captioned], seed: int) -> str:
    kept = {"tuned", "text", "embed_dim", "hidden", "dropout", "epochs", "learning_rate"}
    content = {
        "tower": {**found.facts, **found.architecture},
        "settings": settings.model_dump(mode="json", include={*kept, "weight_decay", "pairs"}),
        "seed": seed,
        "images": [
            [
                hashlib.sha256(one.features.tobytes()).hexdigest(),
                hashlib.sha256(one.table.to_csv(index=False).encode()).hexdigest(),
            ]
            for one in seen.values()
        ],
        "code": fingerprint.of("teacher.tuning"),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class _Asked:
    """Which captions are right for which images.

    Where measured images tell the findings of a kind, each of these is a class of its own, which
    an image that shows it is to be given; captions of the kind that name none are neither right nor
    wrong for it. For all other images every caption of their kind is right.

    Attributes
    ----------
    classes
        Numbers of the sentences of each class.
    sentences
        All captions.
    """

    def __init__(self, table: Any, groups: Groups) -> None:
        self.groups = groups
        self.sentences, words = words_of(table, groups)
        told = [
            number for number, (kind, _) in enumerate(groups.findings) if kind in groups.measured
        ]
        of_kinds = [
            words.silent[number] if kind in groups.measured else words.kinds[number]
            for number, kind in enumerate(groups.kinds)
        ]
        self.classes: list[Rows] = [*(words.findings[number] for number in told), *of_kinds]
        self.kind_of_class = torch.from_numpy(
            np.concatenate([groups.kind_of_finding[told], np.arange(len(groups.kinds))]).astype(int)
        )
        self.place = {number: place for place, number in enumerate(told)}

    def of(self, groups: Groups) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what is right and what counts (n, classes), and who tells a finding (n,)."""
        place = torch.tensor([self.place.get(int(one), -1) for one in groups.finding])
        same = torch.from_numpy(groups.kind)[:, None] == self.kind_of_class[None]
        own = torch.arange(len(self.classes))[None] == place[:, None]
        tells = place >= 0
        right = torch.where(tells[:, None], own, same)
        silent = torch.arange(len(self.classes)) >= len(self.place)
        counts = ~(tells[:, None] & same & silent[None])
        return right, counts, tells


class _Images:
    """Maps, features and what is right, of a split."""

    def __init__(self, seen: Captioned, groups: Groups, asked: _Asked, length: int) -> None:
        given = torch.from_numpy(seen.features)
        self.features, self.maps = given[..., :length], given[..., length:]
        self.right, self.counts, self.tells = asked.of(groups)
        self.kind = torch.from_numpy(groups.kind)
        # Findings of a kind weigh the same, however many images show each.
        sizes = np.bincount(groups.finding[groups.finding >= 0], minlength=1)
        weight = np.where(groups.finding >= 0, 1 / sizes[groups.finding], 0)
        mean = weight[self.tells.numpy()].mean() if self.tells.any() else 1.0
        self.weight = torch.where(self.tells, torch.from_numpy(weight / mean), 1.0).float()

    def __len__(self) -> int:
        return len(self.kind)


class _Tuning:
    """The last parts of a tower, with a small head on either side."""

    def __init__(
        self,
        settings: Locked,
        tuned: Tuned,
        tower: towers.Tower,
        seen: Mapping[str, Captioned],
        seed: int,
        where: torch.device,
    ) -> None:
        self.settings, self.tuned, self.seed, self.where = settings, tuned, seed, where
        self.trunk = tower.trunk
        self.last = LastParts(tower.trunk, tuned.parts, tuned.edge)
        groups = Groups.of(seen["train"].table)
        self.asked = _Asked(seen["train"].table, groups)
        length = self.last.length
        self.train = _Images(seen["train"], groups, self.asked, length)
        of_val = Groups.of(seen["val"].table, groups)
        self.val = _Images(seen["val"], of_val, self.asked, length)
        self.last.to(where)
        vectors = wordvectors.load()
        torch.manual_seed(torch_seed(seed, "tuning"))
        self.text = locked.TextTower(
            vectors.table, settings.hidden, settings.embed_dim, 1, settings.text
        ).to(where)
        tokenizer = wordvectors.Tokenizer(vectors.tokenizer, locked.CONTEXT_LENGTH)
        self.read = self.text.look_up(tokenizer(self.asked.sentences).to(where))
        self.image = nn.Linear(length, settings.embed_dim).to(where)
        self.scale = nn.Parameter(torch.tensor(math.log(heads.FIRST_LOGIT_SCALE), device=where))
        plain = functional.normalize(self.train.features[:, 0], dim=-1)
        kinds = range(len(groups.kinds))
        self.centre = means_by(plain, self.train.kind, kinds).mean(dim=0).to(where)

    def run(self) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
        """Train, and return the best state of the parts, by names in the trunk, and the curve.

        Notes
        -----
        The small heads learn on the features as they were first: gradients of random heads would
        spoil a pretrained tower (Kumar et al. 2022).
        """
        settings, tuned = self.settings, self.tuned
        small = [*self.image.parameters(), *self.text.kinds.parameters(), self.scale]
        first = self._optimizer([{"params": small}], settings.epochs, settings.pairs)
        for epoch in range(settings.epochs):
            self._pass(*first, settings.pairs, "tuned heads", epoch, whole=False)
        own = list(self.last.parameters())
        for one in own:
            one.requires_grad_(True)
        gently = {"params": own, "lr": tuned.learning_rate, "weight_decay": 0}
        second = self._optimizer([{"params": small}, gently], tuned.epochs, tuned.pairs)
        curve = [self._judge(0)]
        best = self._state()
        for epoch in track(range(tuned.epochs), "tower's last parts", tuned.epochs):
            self._pass(*second, tuned.pairs, "tuned", epoch, whole=True)
            curve.append(self._judge(epoch + 1))
            if curve[-1]["validation_loss"] <= min(one["validation_loss"] for one in curve):
                best = self._state()
        return best, curve

    def _optimizer(
        self, groups: list[dict[str, Any]], epochs: int, size: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        found = torch.optim.AdamW(
            groups,
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        steps = epochs * max(1, len(self.train) // size)
        return found, torch.optim.lr_scheduler.CosineAnnealingLR(found, steps)

    def _state(self) -> dict[str, torch.Tensor]:
        wanted = tuple(f"{one}." for one in self.tuned.parts)
        return {
            name: value.detach().cpu().clone().contiguous()
            for name, value in self.trunk.state_dict().items()
            if name.startswith(wanted)
        }

    def _pass(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        size: int,
        purpose: str,
        epoch: int,
        *,
        whole: bool,
    ) -> None:
        """Show every image once, in one of its views; the parts stay in evaluation mode."""
        rng = stream(self.seed, purpose, epoch)
        self.text.train()
        order = rng.permutation(len(self.train))
        views = rng.integers(self.train.features.shape[1], size=len(order))
        for first in range(0, max(1, len(order) // size) * size, size):
            rows = order[first : first + size]
            loss = self._loss(torch.from_numpy(rows), torch.from_numpy(views[rows]), rng, whole)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            self.scale.data.clamp_(0.0, math.log(heads.HIGHEST_LOGIT_SCALE))

    def _loss(
        self, rows: torch.Tensor, views: torch.Tensor, rng: np.random.Generator, whole: bool
    ) -> torch.Tensor:
        images = self.train
        before = functional.normalize(images.features[rows, views].to(self.where), dim=-1)
        found = before
        if whole:
            maps = images.maps[rows, views].to(self.where)
            found = functional.normalize(self.last(maps), dim=-1)
        dropped = self.settings.dropout
        keep = rng.random(tuple(found.shape), dtype=np.float32) >= dropped
        given = torch.from_numpy(keep).to(self.where) / (1 - dropped)
        captions = torch.from_numpy(
            one_of_each(self.asked.classes, np.arange(len(self.asked.classes)), rng)
        )
        said = self.text.kinds_of(tuple(one[captions] for one in self.read))
        wrong = self._wrong(found, said, images, rows, given)
        loss = (wrong + self.tuned.kept * self._moved(found, before, images, rows)).mean()
        if not torch.isfinite(loss):
            raise MedlabelError(
                f"tuned: the loss is {loss.item()}; lower tuned.learning_rate "
                f"({self.tuned.learning_rate}) or learning_rate ({self.settings.learning_rate})."
            )
        return loss

    def _wrong(
        self,
        found: torch.Tensor,
        said: torch.Tensor,
        images: _Images,
        rows: torch.Tensor,
        given: torch.Tensor | float = 1.0,
    ) -> torch.Tensor:
        """Return the negative log-likelihood (n,) that an image is given a caption that is right.

        Notes
        -----
        UniCL (Yang et al. 2022), in the form for several right answers of which one is enough
        (MIL-NCE, Miech et al. 2020, equation 1).
        """
        shown = self.image((found - self.centre) * math.sqrt(found.shape[1]) * given)
        logits = self.scale.exp() * functional.normalize(shown, dim=-1)
        logits = logits @ functional.normalize(said, dim=-1).T
        counts, right = (one[rows].to(self.where) for one in (images.counts, images.right))
        every = logits.masked_fill(~counts, -math.inf).logsumexp(dim=1)
        weight = images.weight[rows].to(self.where)
        wrong: torch.Tensor = weight * (
            every - logits.masked_fill(~right, -math.inf).logsumexp(dim=1)
        )
        return wrong

    def _moved(
        self, found: torch.Tensor, before: torch.Tensor, images: _Images, rows: torch.Tensor
    ) -> torch.Tensor:
        """Return how far features (n,) moved, of images that tell no finding.

        Notes
        -----
        A form of learning without forgetting (Li and Hoiem 2018), by features and not by answers.
        """
        moved: torch.Tensor = 1 - (found * before).sum(dim=1)
        return moved * ~images.tells[rows].to(self.where)

    @torch.no_grad()
    def _judge(self, epoch: int) -> dict[str, float]:
        """Return the loss on validation images, and how many are given what is right."""
        self.text.eval()
        said = torch.stack(
            [
                self.text.kinds_of(tuple(one[torch.from_numpy(rows)] for one in self.read)).mean(0)
                for rows in self.asked.classes
            ]
        )
        losses, moves = [], []
        for rows in torch.split(torch.arange(len(self.val)), JUDGED):
            found = functional.normalize(self.last(self.val.maps[rows, 0].to(self.where)), dim=-1)
            before = functional.normalize(self.val.features[rows, 0].to(self.where), dim=-1)
            moves.append(self._moved(found, before, self.val, rows))
            losses.append(self._wrong(found, said, self.val, rows))
        wrong, moved = torch.cat(losses).cpu(), torch.cat(moves).cpu()
        tells = self.val.tells
        return {
            "epoch": epoch,
            "validation_loss": float((wrong + self.tuned.kept * moved).mean()),
            "validation_findings_loss": float(wrong[tells].mean()) if tells.any() else 0.0,
            "validation_moved": float(moved[~tells].mean()),
        }
