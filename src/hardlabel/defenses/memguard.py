"""MemGuard: noise on confidences, searched so that the defender's own attack network knows no better than a coin."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.defenses import keyed
from hardlabel.defenses.base import Defender
from hardlabel.defenses.guarded import GuardedScores, with_scores
from hardlabel.models.method import Method
from hardlabel.models.model_store import trained
from hardlabel.models.train import Recipe
from hardlabel.oracles.base import LabelOracle, ScoreOracle

HIDDEN = (256, 128, 64)  # Of the defender's attack network, as published.
STEP, STEPS = 0.1, 300  # Length of a step along the gradient, in logits, and most steps of a search.
KEEP_LABEL = 10.0  # The authors' c2.
SMALLEST, LARGEST = 0.1, 1e5  # The authors' c3, times 10 after each success.
ENOUGH = 1e-5  # A chance this near to one half needs no noise.
MOST_KEPT = 100_000  # Answers remembered.


@dataclass(frozen=True, kw_only=True)
class MemGuard:
    """Shows confidences plus noise that keeps the label and leaves the defender's attack network undecided.

    Phase 1 searches, for each vector, the least noise in logits that brings the network to one half: gradient steps on
    |its logit| + 10 max(0, highest other - label's) + c3 (L1 distortion), c3 growing tenfold while the search succeeds.
    Phase 2 adds the noise with probability min(1, distortion / its L1 norm), so that the expected L1 distortion of
    every vector is at most `distortion`, and never where it would make the network surer; else the vector is shown as
    it is. The draw is fixed by the input. All vectors are searched at once. Costs one training of a small network per
    model, hundreds of passes through it per answer, and exact confidences. Jia et al. (2019), and their code.

    The attack network sees sorted confidences, of members and of as many samples of the reserve; unlike in the authors'
    code they are sorted anew in every step of the search.

    Attributes:
        distortion: Largest expected L1 distance between true and shown confidences, in (0, 2].

    Raises:
        InvalidInput: `distortion` is not in (0, 2]; in `check` and `guard`, the reserve holds fewer than 20 samples; in
            `guard`, the model shows no confidences.

    Example:
        >>> import torch
        >>> from hardlabel import Box
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.memguard import MemGuard
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> MemGuard(distortion=0.5).check(defender)
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: defense 'memguard' needs at least 20 samples beyond those of targets ...
    """

    distortion: float

    def __post_init__(self) -> None:
        if not 0 < self.distortion <= 2:
            raise InvalidInput(f"distortion must lie in (0, 2], got {self.distortion}")

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`."""
        defender.needs_reserve("memguard")

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedScores:
        """See `InferenceDefense`."""
        scores, reserve = with_scores(model, "memguard"), defender.needs_reserve("memguard")
        network = attack_network(scores, members, reserve, defender, seed=seed)
        return GuardedScores(scores, Noise(network, distortion=self.distortion, seed=seed))


@dataclass(frozen=True, kw_only=True)
class AttackNetwork(Method):
    """The defender's network: sorted confidences (q, classes) to logits of outsider and member."""

    def network(self, architecture: str, *, shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
        """Three hidden layers of ReLU, whatever the architecture is called."""
        del architecture
        widths = (shape[0], *HIDDEN)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(randomness.derive(seed, "first weights"))
            layers: list[nn.Module] = []
            for narrow, wide in itertools.pairwise(widths):
                layers += [nn.Linear(narrow, wide), nn.ReLU()]
            return nn.Sequential(*layers, nn.Linear(HIDDEN[-1], classes))


def attack_network(
    model: ScoreOracle, members: Samples, reserve: Samples, defender: Defender, *, seed: int
) -> nn.Sequential:
    """The defender's network, fitted on equally many members and others; found again in the defender's store."""
    count = min(len(members), len(reserve))
    groups = [part.take(slice(0, count)).to(defender.device) for part in (members, reserve)]
    shown = [model.ask_scores(part.inputs, part.ids).float().exp().clamp(0, 1).sort(1).values.cpu() for part in groups]
    samples = Samples(
        ids=torch.arange(2 * count),
        inputs=torch.cat(shown),
        labels=torch.tensor([1, 0]).repeat_interleave(count),
        domain=Box((shown[0].shape[1],)),
    )
    made = trained(
        Recipe(architecture="logistic", batch_size=64, max_epochs=100, min_delta=0.001),
        samples,
        classes=2,
        seed=randomness.derive(seed, "memguard"),
        device=defender.device,
        store=defender.store,
        method=AttackNetwork(),
    )
    return made.model.requires_grad_(False)


class Noise:
    """Both phases, for one model. Answers are remembered: the same input gets the same without a second search.

    Args:
        network: The defender's.
        distortion: See `MemGuard`.
        seed: The model's secret.
    """

    def __init__(self, network: nn.Module, *, distortion: float, seed: int) -> None:
        self._network, self._distortion, self._seed = network, distortion, seed
        self._kept: dict[int, Tensor] = {}

    def __call__(self, inputs: Tensor, shown: Tensor) -> Tensor:
        """What is shown for true confidences (q, classes)."""
        keys = keyed.fingerprints(inputs, self._seed).tolist()
        new = torch.tensor([one not in self._kept for one in keys], device=shown.device)
        answers = shown.clone()
        if bool(new.any()):
            noise = self.search(shown[new])
            draws = keyed.uniforms(inputs[new], self._seed).to(shown.device)[:, 0]
            answers[new] += noise * (draws < self.chances(shown[new], noise))[:, None]
        for row, one in enumerate(keys):
            if one in self._kept:
                answers[row] = self._kept[one]
            elif len(self._kept) < MOST_KEPT:
                self._kept[one] = answers[row].clone()
        return answers.clamp(min=0)

    def sure(self, shown: Tensor) -> Tensor:
        """The network's logit of membership for confidences (q, classes) in any order, (q,)."""
        told: Tensor = self._network(shown.sort(1).values.float())
        return told[:, 1] - told[:, 0]

    def search(self, shown: Tensor) -> Tensor:
        """Phase 1: noise (q, classes) to add to confidences, 0 where none was found; never moves the label."""
        true = shown.log().clamp(min=-1e4).float()
        first = true.clone().scatter(1, shown.argmax(1, keepdim=True), float("inf"))
        order = first.argsort(1)  # Ascending, as the network wants it; the label comes last, also in a tie.
        start = true.gather(1, order)
        sure = self.sure(start.softmax(1))
        best = start.clone()
        alive = ((sure.sigmoid() - 0.5).abs() > ENOUGH).nonzero().flatten()
        weight = SMALLEST
        while len(alive) and weight <= LARGEST * 1.01:
            ended, found = self._descended(start[alive], sure[alive], weight)
            alive = alive[found]
            best[alive] = ended[found]
            weight *= 10
        noise = (best.double().softmax(1) - start.double().softmax(1)) * (best != start).any(1, keepdim=True)
        return torch.zeros_like(shown).scatter(1, order, noise)

    def chances(self, shown: Tensor, noise: Tensor) -> Tensor:
        """Phase 2: with which probability the noise is added, (q,)."""
        norm = noise.abs().sum(1)
        better = self.sure(shown + noise).sigmoid().sub(0.5).abs() < self.sure(shown).sigmoid().sub(0.5).abs()
        allowed = (self._distortion / norm.clamp(min=1e-12)).clamp(max=1.0)
        return torch.where(better & (norm > 0), allowed, 0.0)

    def _descended(self, start: Tensor, sure: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Where each search ends and whether the label was kept and the network's mind changed."""
        now, going = start.clone(), torch.arange(len(start), device=start.device)
        for _ in range(STEPS - 1):
            here = now[going].requires_grad_()
            with torch.enable_grad():
                logit = self.sure(here.softmax(1))
                other = (here[:, :-1].amax(1) - here[:, -1]).relu()
                distortion = (here.softmax(1) - start[going].softmax(1)).abs().sum(1)
                total = (logit.abs() + KEEP_LABEL * other + weight * distortion).sum()
                (slope,) = torch.autograd.grad(total, here)
            now[going] -= STEP * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
            going = going[~self._reached(now[going], sure[going])]
            if not len(going):
                break
        return now, self._reached(now, sure)

    def _reached(self, now: Tensor, sure: Tensor) -> Tensor:
        kept = now[:, -1] > now[:, :-1].amax(1)
        return kept & (self.sure(now.softmax(1)) * sure <= 0)
