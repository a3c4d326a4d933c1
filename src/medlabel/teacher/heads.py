"""Teach words where the images of a locked tower lie, from captioned phantoms or images."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch.nn import functional

from medlabel import compute
from medlabel.errors import MedlabelError
from medlabel.params import Locked
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed
from medlabel.teacher import (
    encoder,
    features,
    findings,
    locked,
    towers,
    trunks,
    vocabulary,
    wordvectors,
)
from medlabel.teacher.features import Captioned, Extractor
from medlabel.teacher.groups import Groups, Rows, means_by, one_of_each, words_of
from medlabel.teacher.sources import Source, learnt_from

logger = logging.getLogger("medlabel")

HIGHEST_LOGIT_SCALE = 100.0  # Radford et al. 2021, section 2.5
FIRST_LOGIT_SCALE = 1 / 0.07  # there too
# More than likeliest: else how a kind is worded outweighs what is found in it.
FINDING_EMPHASIS = 2.0
# Findings are small: of what a smaller scale says of them, more is of the kind.
SMALLER_SCALES = 0.5
SCALES = np.geomspace(0.1, 1000, 81)  # of finding logits, tried on validation phantoms


class _Sentences:
    """Sentences as the heads of a text tower read them, looked up once where there is room."""

    def __init__(self, text: locked.TextTower, tokens: torch.Tensor) -> None:
        self.text, self.tokens = text, tokens
        self.read = None if text.sequential else text.look_up(tokens)

    def __getitem__(self, rows: Rows) -> tuple[torch.Tensor, ...]:
        chosen = torch.from_numpy(rows)
        if self.read is None:
            return self.text.look_up(self.tokens[chosen])
        return tuple(one[chosen] for one in self.read)


def train(
    sources: Sequence[Source],
    folders: Mapping[int, Path],
    settings: Locked,
    seed: int,
    device: str,
    threads: int,
    cache: Path,
) -> None:
    """Join a locked image tower to words, once for each pretraining.

    Parameters
    ----------
    sources
        Captioned phantoms of all kinds and sizes, or images of one's own; measured images too.
    folders
        For each number of a pretraining, the encoder's folder to write.
    settings
        Tower, heads and optimisation.
    seed
        Root of the random streams.
    device, threads
        As for `medlabel.compute.prepare`.
    cache
        Folder of features computed before; a killed run goes on from there.

    Raises
    ------
    MedlabelError
        When weights, word vectors or phantoms are missing or damaged.

    Notes
    -----
    Kinds: images against one caption of every kind, cross-entropy (UniCL, Yang et al. 2022, with
    the captions of a kind as positives), so that findings do not count in them. Findings: no
    image is trained on. Words learn, by least squares, where `findings.directions` puts what they
    name. The scale of the logits of either part is the one of the highest likelihood on validation
    images.
    """
    where = compute.prepare(device, threads)
    found = towers.load(settings.tower, settings.edges[0], seed)
    join(sources, folders, settings, found, seed, where, threads, cache)


def join(
    sources: Sequence[Source],
    folders: Mapping[int, Path],
    settings: Locked,
    found: towers.Tower,
    seed: int,
    where: torch.device,
    threads: int,
    cache: Path,
) -> None:
    """Do what `train` does, with a tower that is loaded already and a device that is prepared."""
    vectors = wordvectors.load()
    extractor = Extractor(settings, found, cache, where, threads, seed)
    seen = {split: extractor.read(sources, split) for split in ("train", "val")}
    torch.set_num_threads(1)  # heads are too small to share: threads would wait for one another
    for run, folder in track(folders.items(), "heads", len(folders)):
        train_on = seen["train"]
        if settings.permuted_captions:
            train_on = features.permuted(train_on, seed, run)
        torch.manual_seed(torch_seed(seed, "heads", run))
        network, record = _Training(
            settings, train_on, seen["val"], found, vectors, seed, run
        ).run()
        config = _config(settings, found, network.dimension)
        encoder.save(network, config, folder, record)


class _Training:
    """The heads of one pretraining."""

    def __init__(
        self,
        settings: Locked,
        train_on: Captioned,
        val: Captioned,
        tower: towers.Tower,
        vectors: wordvectors.WordVectors,
        seed: int,
        run: int,
    ) -> None:
        self.settings, self.tower, self.vectors = settings, tower, vectors
        self.seed, self.number = seed, run
        self.groups = Groups.of(train_on.table)
        captions, self.words = words_of(train_on.table, self.groups)
        said = train_on.table["caption"]
        self.vocabulary = sorted({word for one in said for word in vocabulary.words_of(one)})
        _, views, length = train_on.features.shape
        self.last = len(settings.edges) * trunks.length(tower.trunk, settings.edges[0])
        tells = self._tell_kinds(train_on.table)
        every = torch.from_numpy(train_on.features[tells].reshape(-1, length))
        self.kind = torch.from_numpy(np.repeat(self.groups.kind[tells], views))
        centre = means_by(every, self.kind, range(len(self.groups.kinds))).mean(dim=0)
        self.images = (every - centre)[:, : self.last].contiguous()
        self.network = self._network(torch.from_numpy(train_on.features[:, 0]), centre)
        tokenizer = wordvectors.Tokenizer(vectors.tokenizer, locked.CONTEXT_LENGTH)
        self.sentences = _Sentences(self.network.text, tokenizer(captions))
        self.truth = Groups.of(val.table, self.groups)
        self.centred = torch.from_numpy(val.features[:, 0]) - self.network.visual.centre
        self.curve: list[dict[str, float]] = []

    def _network(self, plain: torch.Tensor, centre: torch.Tensor) -> locked.Locked:
        directions, self.targets = findings.directions(
            plain, self.groups, centre, self._say(plain.shape[1])
        )
        settings, rank = self.settings, directions.shape[1]
        visual = locked.ImageTower(
            self.tower.trunk,
            settings.edges,
            settings.middle,
            (plain.shape[1], self.last),
            settings.embed_dim,
            rank,
        )
        visual.centre.copy_(centre)
        visual.directions.copy_(directions)
        text = locked.TextTower(
            self.vectors.table, settings.hidden, settings.embed_dim, rank, settings.text
        )
        network = locked.Locked(visual, text, self.vectors.tokenizer)
        network.logit_scale.data.fill_(math.log(FIRST_LOGIT_SCALE))
        return network

    def _tell_kinds(self, table: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Choose the images that kinds are learnt from: as many measured ones a kind as drawn."""
        measured = table["measured"].to_numpy()
        if measured.all():
            return measured
        place = table.groupby(["kind", "measured"]).cumcount().to_numpy()
        return np.asarray(~measured | (place < self.settings.phantoms))

    def _say(self, length: int) -> torch.Tensor:
        """Return the weight of every feature in what tells findings."""
        scales = len(self.settings.edges)
        weights = torch.tensor([1.0] + [SMALLER_SCALES] * (scales - 1))
        middle = (length - self.last) // scales
        return torch.cat(
            [weights.repeat_interleave(self.last // scales), weights.repeat_interleave(middle)]
        )

    def run(self) -> tuple[locked.Locked, dict[str, Any]]:
        """Train, and return the network with the record of its training."""
        settings, network = self.settings, self.network
        heads = [*network.visual.kinds.parameters(), *network.text.kinds.parameters()]
        optimizer = torch.optim.AdamW(
            [*heads, network.logit_scale],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        batches = max(1, len(self.images) // settings.pairs)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * batches)
        for epoch in range(settings.epochs):
            rng = stream(self.seed, "heads", self.number, epoch)
            network.text.train()
            order = torch.from_numpy(rng.permutation(len(self.images)))
            losses = []
            for rows in order[: batches * settings.pairs].reshape(batches, -1):
                loss = self._loss(rows, rng)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                network.logit_scale.data.clamp_(0.0, math.log(HIGHEST_LOGIT_SCALE))
                losses.append(loss.item())
            self._judge(epoch + 1, float(np.mean(losses)))
        self._teach_findings()
        return network, self._record(self._scale_findings())

    def _loss(self, rows: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        network = self.network
        captions = one_of_each(self.words.kinds, np.arange(len(self.words.kinds)), rng)
        kinds = network.text.kinds_of(self.sentences[captions])
        # Torch's own dropout draws its numbers one by one, and would take most of the time.
        dropped = self.settings.dropout
        keep = rng.random((len(rows), self.last), dtype=np.float32) >= dropped
        given = self.images[rows] * torch.from_numpy(keep) / (1 - dropped)
        images = network.visual.kinds_of(given)
        logits = network.logit_scale.exp() * images @ functional.normalize(kinds, dim=-1).T
        loss = functional.cross_entropy(logits, self.kind[rows])
        if not torch.isfinite(loss):
            raise MedlabelError(
                f"pretrain: the loss is {loss.item()}; lower learning_rate "
                f"({self.settings.learning_rate})."
            )
        return loss

    def _teach_findings(self) -> None:
        """Let words say where their findings lie; those that name none say nothing of any."""
        head, groups = self.network.text.findings, [*self.words.findings, *self.words.silent]
        nothing = torch.zeros(len(self.words.silent), self.targets.shape[1])
        targets = torch.cat([self.targets, nothing])
        optimizer = torch.optim.AdamW(
            head.parameters(),
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        steps = self.settings.caption_steps
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        rng = stream(self.seed, "captions", self.number)
        self.network.text.train()
        for _ in range(steps):
            chosen = rng.integers(len(groups), size=self.settings.pairs)
            captions = one_of_each(groups, chosen, rng)
            said = self.network.text.findings_of(self.sentences[captions])
            loss = (said - targets[torch.from_numpy(chosen)]).square().sum(dim=-1).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        self.network.eval()

    @torch.no_grad()
    def _judge(self, epoch: int, loss: float) -> None:
        """Note the loss, and how many validation phantoms are given their kind."""
        self.network.eval()
        images = self.network.visual.kinds_of(self.centred)
        said = [
            self.network.text.kinds_of(self.sentences[one]).mean(dim=0) for one in self.words.kinds
        ]
        found = (images @ functional.normalize(torch.stack(said), dim=-1).T).argmax(dim=1)
        right = float((found.numpy() == self.truth.kind).mean())
        self.curve.append({"epoch": epoch, "loss": loss, "validation_accuracy": right})

    @torch.no_grad()
    def _scale_findings(self) -> float:
        """Weigh findings against kinds so that validation phantoms are likeliest.

        Returns
        -------
        float
            How many of them are given the finding that they show, among those of their kind.
        """
        said = torch.stack(
            [
                self.network.text.findings_of(self.sentences[one]).mean(dim=0)
                for one in self.words.findings
            ]
        )
        known = self.truth.finding >= 0
        if not known.any():
            raise MedlabelError(
                f"pretrain: no validation phantom shows a finding that was learnt; raise phantoms "
                f"({self.settings.phantoms})."
            )
        of_others = self.truth.kind[known, None] != self.groups.kind_of_finding[None, :]
        directions = self.network.visual.directions
        logits = (self.centred[torch.from_numpy(known)] @ directions @ said.T).masked_fill(
            torch.from_numpy(of_others), -torch.inf
        )
        truth = torch.from_numpy(self.truth.finding[known])
        losses = [functional.cross_entropy(logits * scale, truth).item() for scale in SCALES]
        best = SCALES[int(np.argmin(losses))]
        weight = FINDING_EMPHASIS * math.sqrt(best / self.network.logit_scale.exp().item())
        self.network.visual.finding_weight.fill_(weight)
        self.network.text.finding_weight.fill_(weight)
        return float((logits.argmax(dim=1) == truth).double().mean())

    def _record(self, findings: float) -> dict[str, Any]:
        own = self.settings.captioned
        without = {"batch_size", "captioned", "datasets", "pretrainings", "threads", "tuned"}
        settings = self.settings.model_dump(mode="json", exclude=without)
        return {
            "model": "medlabel pretrain",
            "trained_on": learnt_from(self.settings.datasets, drawn=True)
            if own is None
            else f"captioned images: {Path(own).name}",
            "tower": dict(self.tower.facts),
            "words": dict(self.vectors.facts),
            "settings": settings,
            "seed": self.seed,
            "run": self.number,
            "kinds": self.groups.kinds,
            "vocabulary": self.vocabulary,
            "curve": self.curve,
            "validation_accuracy": self.curve[-1]["validation_accuracy"],
            "validation_findings": findings,
        }


def _config(settings: Locked, tower: towers.Tower, dimension: int) -> dict[str, Any]:
    """Return what the folder says of its network, in open_clip's words where it has any."""
    expected = features.preprocessing(settings, tower)
    return {
        "model_cfg": {"embed_dim": dimension},
        "preprocess_cfg": {
            "size": settings.edges[0],
            "mode": "RGB",
            "mean": list(expected.mean),
            "std": list(expected.std),
            "interpolation": expected.interpolation,
            "resize_mode": expected.resize_mode,
            "fill_color": expected.fill,
        },
        locked.CONFIG_KEY: json.loads(
            json.dumps(
                {
                    "tower": dict(tower.architecture),
                    "edges": settings.edges,
                    "middle": settings.middle,
                    "hidden": settings.hidden,
                    "text": settings.text,
                }
            )
        ),
    }
