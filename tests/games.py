"""Small targets with known truth, shared by the tests."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from hardlabel import randomness
from hardlabel.audits.game.asking import Asking, Side
from hardlabel.audits.game.game import Game, ReferenceSides
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.models import shadows
from hardlabel.models.model_store import weights_hash
from hardlabel.models.train import Recipe, train
from hardlabel.runs.progress import SILENT, Watch
from hardlabel.signals.base import Knowledge, Shadows
from hardlabel.store import Store
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.torch import TorchScores

SURROGATE = Recipe(architecture="logistic", learning_rate=0.05, max_epochs=40)
POPULATION = 200  # Points enough to learn the linear part of a game from.


class HalfSpace:
    """Class 1 where w.x + b > 0, else 0; refuses inputs that its domain does not contain."""

    def __init__(self, domain: Domain, w: Tensor, b: float) -> None:
        self.domain, self.w, self.b = domain, w, b
        self.calls: list[int] = []

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        assert inputs.dtype == torch.float32
        assert ids.shape == (len(inputs),)
        self.domain.check(inputs)
        self.calls.append(len(inputs))
        # Row by row in float64, so that an answer does not depend on the batch.
        return ((inputs.flatten(1).double() * self.w.double()).sum(1) + self.b > 0).long()

    def margin(self, inputs: Tensor) -> Tensor:
        """Signed distance to the boundary, positive where the answer is 1."""
        return ((inputs.flatten(1).double() * self.w.double()).sum(1) + self.b) / self.w.double().norm()


class Logistic(HalfSpace):
    """A logistic regression: the same labels, with the confidences shown."""

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        del ids
        logits = (inputs.flatten(1).double() * self.w.double()).sum(1) + self.b
        return torch.stack([-logits, logits], 1).div(2).log_softmax(1).float()


class Constant:
    """Always the same class."""

    def __init__(self, label: int) -> None:
        self.label = label

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        del ids
        return torch.full((len(inputs),), self.label)


def samples_of(domain: Domain, inputs: Tensor, labels: Tensor | int, *, start: int = 0) -> Samples:
    """Samples with ids counted from `start`; one label for all, or one each."""
    if isinstance(labels, int):
        labels = torch.full((len(inputs),), labels)
    return Samples(ids=torch.arange(start, start + len(inputs)), inputs=inputs, labels=labels, domain=domain)


def random_samples(domain: Domain, count: int, *, classes: int, seed: int = 0, start: int = 0) -> Samples:
    """Legal points with random labels."""
    rng = randomness.generator(seed, "random samples", start)
    return samples_of(
        domain, domain.random(count, rng), torch.randint(0, classes, (count,), generator=rng), start=start
    )


class Memory(nn.Module):
    """A linear model whose logits rise for the class of every remembered point near the one asked about.

    The leak is planted, no training needed: at a remembered point its own class gains `gain`, which the linear part,
    of deviation 1 over legal points, hardly outweighs; at a distance of a few times `reach` nothing is left of it.
    Every row is computed alone, so that answers do not depend on the batch.
    """

    def __init__(self, remembered: Samples, *, reach: float, gain: float = 6.0) -> None:
        super().__init__()
        domain = remembered.domain
        legal = domain.random(500, randomness.generator(0, "legal points")).flatten(1)
        slope = torch.linspace(-1, 1, legal.shape[1]) + 0.1
        self.register_buffer("w", slope / (legal @ slope).std())
        self.register_buffer("b", -(legal @ self.w).mean())
        self.register_buffer("points", remembered.inputs.flatten(1))
        self.register_buffer("signs", 2.0 * remembered.labels - 1)
        self.reach, self.gain = reach, gain

    def extra_repr(self) -> str:
        return f"reach={self.reach}, gain={self.gain}"

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        margin = (flat * self.w).sum(1) + self.b
        away = (flat[:, None] - self.points).square().sum(2)
        margin = margin + self.gain * ((-away / (2 * self.reach**2)).exp() * self.signs).sum(1)
        return torch.stack([-margin / 2, margin / 2], 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Complementary pairs of models over one pool, around a table: whoever plays target takes its partner out.

    Attributes:
        samples: Everybody.
        inside: Who is inside which model (K, n).
        models: One per row of `inside`, as it is asked.
        networks: The same, as gradients see them.
        attacked: How many of the first samples are asked about; the rest is the attacker's pool.
        elsewhere: A model that had no part in the pool.
        knowledge: Population, crafters and a trainer of surrogates, none of which knows the pool.
        shadow: A model and samples of its own.
    """

    samples: Samples
    inside: Tensor
    models: tuple[AskableModel, ...]
    networks: tuple[nn.Module, ...]
    attacked: int
    elsewhere: AskableModel
    knowledge: Knowledge
    shadow: Side

    def side(self, model: AskableModel, row: int, knowledge: Knowledge) -> Side:
        who = slice(0, self.attacked)
        return Side(model=model, samples=self._asked, inside=self.inside[row, who], knowledge=knowledge)

    def game(
        self,
        target: int = 0,
        *,
        budget: int | None,
        null: bool = False,
        left_out: bool = True,
        alike: bool = True,
        with_pool: bool = True,
        model: AskableModel | None = None,
        seed: int = 0,
        store: Store | None = None,
        watch: Watch = SILENT,
    ) -> Game:
        """Model `target` against the others.

        `null` takes the answers from the model elsewhere and leaves membership as the design has it. `left_out` is
        whether the partner leaves, as it must. `model` plays instead of the target's own, under its membership.
        """
        others = [row for row in range(len(self.models)) if row != target and (row != target ^ 1 or not left_out)]
        shadows = Shadows(
            models=tuple(self.networks[row] for row in others), inside=self.inside[others][:, : self.attacked]
        )
        knowledge = replace(self.knowledge, shadows=shadows)
        more = self.samples.take(slice(self.attacked, None))
        references = ReferenceSides(
            sides=tuple(self.side(self.models[row], row, knowledge) for row in others),
            partner=torch.tensor([others.index(row ^ 1) if row ^ 1 in others else -1 for row in others]),
            pool_sides=tuple(
                Side(
                    model=self.models[row],
                    samples=more,
                    inside=self.inside[row, self.attacked :],
                    knowledge=knowledge,
                )
                for row in others
            )
            if with_pool and len(more)
            else (),
            alike=alike,
        )
        playing = self.elsewhere if null else model or self.models[target]
        return Game(
            target=self.side(playing, target, knowledge),
            shadow=self.shadow,
            references=references,
            budget=budget,
            asking=Asking(seed=seed, watch=watch, store=store),
        )

    @cached_property
    def _asked(self) -> Samples:
        return self.samples.take(slice(0, self.attacked))


def pool_of_memories(
    domain: Domain,
    *,
    reach: float,
    attacked: int = 30,
    more: int = 12,
    count: int = 6,
    seed: int = 0,
    draw: Callable[..., Samples] = random_samples,
) -> Pool:
    """`count` memories of halves of a pool of points with random labels, one of other points, and crafters."""
    samples = distinct(draw, domain, attacked + more, seed=seed)
    inside = shadows.pairs(count, len(samples), seed=seed)
    networks = tuple(Memory(samples.take(mine), reach=reach) for mine in inside)
    others = [distinct(draw, domain, 30, seed=seed, start=1_000 * part) for part in range(1, 5)]
    population = distinct(draw, domain, POPULATION, seed=seed, start=10_000)
    mixed = Side.mixed(
        oracle(Memory(others[3].take(slice(0, 15)), reach=reach)),
        others[3].take(slice(0, 15)),
        others[3].take(slice(15, 30)),
        seed=seed,
        knowledge=Knowledge(population=population),
    )
    return Pool(
        samples=samples,
        inside=inside,
        models=tuple(map(oracle, networks)),
        networks=networks,
        attacked=attacked,
        elsewhere=oracle(Memory(others[0], reach=reach)),
        knowledge=Knowledge(
            population=population,
            crafters=tuple(Memory(one, reach=reach) for one in others[1:3]),
            fit=lambda samples, seed: train(SURROGATE, samples, classes=2, seed=seed).model,
        ),
        shadow=mixed,
    )


class Counted(TorchScores):
    """Counts the rows it is sent, by id."""

    def __init__(self, model: nn.Module) -> None:
        # The batch size is given, for to probe it takes longer than a game.
        super().__init__(model, device="cpu", batch_size=512)
        self.seen: Counter[int] = Counter()

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        self.seen.update(ids.tolist())
        return super().ask(inputs, ids)

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        self.seen.update(ids.tolist())
        return super().ask_scores(inputs, ids)


def oracle(model: nn.Module) -> AskableModel:
    """A network as the audit asks it; `labels` counts."""
    asked = Counted(model)
    return AskableModel(labels=asked, scores=asked, torch_model=asked, weights=weights_hash(model))


def distinct(draw: Callable[..., Samples], domain: Domain, count: int, *, seed: int, start: int = 0) -> Samples:
    """Samples of two classes, drawn by `draw`, no two of which are the same point."""
    samples = draw(domain, 3 * count, classes=2, seed=seed, start=start)
    first = {point.numpy().tobytes(): row for row, point in reversed(list(enumerate(samples.inputs)))}
    return samples.take(torch.tensor(sorted(first.values())[:count]))
