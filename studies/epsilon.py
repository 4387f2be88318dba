"""Whether the bounds on epsilon and the false discovery rates hold, in games whose truth is known.

python studies/epsilon.py [--games N]      writes EPSILON.md beside this script (1,000 games of each kind)
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, ndtr, ndtri
from scipy.stats import binom

from hardlabel import randomness
from hardlabel.metrics import discovery
from hardlabel.metrics.epsilon import epsilon_bound, gaussian_bound
from hardlabel.metrics.gaussian import gaussian_epsilon
from hardlabel.metrics.one_run import one_run_bound
from hardlabel.records.environment import environment_of

SEED = 0
GAMES = 1000
RATE = 0.1  # False discovery rate asked for.
LUCK = 0.998  # Of 1,000 games that miss with a chance of 5 % at most 71 do, but for 1.5 in 1,000.

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rng = np.random.Generator
Mechanism = Callable[[Mask, Rng], Floats]  # One score for each run or canary, from who is inside.


def gaussian(inside: Mask, rng: Rng, *, mu: float) -> Floats:
    """Adds noise to a sum in which the canary counts mu standard deviations."""
    return rng.normal(size=len(inside)) + mu * inside


def answers(inside: Mask, rng: Rng, *, mu: float) -> Floats:
    """The same, seen through a label-only attack that knows four values, cut at mu / 2 and one to either side."""
    return np.digitize(gaussian(inside, rng, mu=mu), mu / 2 + np.array([-1.0, 0.0, 1.0])).astype(float)


def response(inside: Mask, rng: Rng, *, epsilon: float, delta: float = 0.0) -> Floats:
    """Randomised response, which gives the truth away with probability delta (scores -1 and 2)."""
    said = inside == (rng.random(len(inside)) < expit(epsilon))
    return np.where(rng.random(len(inside)) < delta, np.where(inside, 2.0, -1.0), said)


def twins(inside: Mask, rng: Rng, *, epsilon: float) -> Floats:
    """Randomised response where canaries come in twos of which one is inside: both answers tell about either."""
    said = response(inside, rng, epsilon=epsilon).reshape(-1, 2)
    return (said - said[:, ::-1]).ravel()


def epsilon_of_answers(mu: float, delta: float) -> float:
    """The epsilon of `answers`: the smallest for which no set of its values gains more than delta."""
    cuts = mu / 2 + np.array([-np.inf, -1.0, 0.0, 1.0, np.inf])
    outside, inside = np.diff(ndtr(cuts)), np.diff(ndtr(cuts - mu))

    def excess(epsilon: float) -> float:
        return float(np.maximum(inside - np.exp(epsilon) * outside, 0).sum()) - delta

    return float(brentq(excess, 0.0, 50.0))


def with_and_without(rng: Rng, runs: int) -> Mask:
    """Runs of both kinds, `runs` each."""
    return np.repeat([True, False], runs)


def by_coins(rng: Rng, canaries: int) -> Mask:
    """An independent coin for each canary."""
    return rng.random(canaries) < 0.5


def one_of_two(rng: Rng, canaries: int) -> Mask:
    """A split of fixed size, within neighbours: one of each two is inside."""
    first = by_coins(rng, canaries // 2)
    return np.stack([first, ~first], axis=1).ravel()


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """A game in which a mechanism of known privacy is bounded.

    Attributes:
        title: The bound and the mechanism, in words.
        truth: What the bound must not exceed.
        mechanism: Gives the scores.
        bound: What a game's scores prove.
        inside: Draws who is inside.
        size: Runs of each kind, or canaries.
        tight: Whether the bound should come within 10 % of the truth.
        holds: Whether the bound is meant to hold; False where its assumption is broken on purpose.
    """

    title: str
    truth: float
    mechanism: Mechanism
    bound: Callable[[Floats, Mask, int], float]
    inside: Callable[[Rng, int], Mask] = with_and_without
    size: int = 1000
    tight: bool = False
    holds: bool = True

    def play(self, games: int) -> Floats:
        """The bounds of so many games."""
        bounds = np.empty(games)
        for game in range(games):
            rng = randomness.numpy_generator(SEED, self.title, self.size, game)
            inside = self.inside(rng, self.size)
            bounds[game] = self.bound(self.mechanism(inside, rng), inside, game)
        return bounds


def _many(scores: Floats, inside: Mask, seed: int, *, delta: float) -> float:
    return epsilon_bound(scores, inside, delta=delta, seed=seed).epsilon


def _gaussian(scores: Floats, inside: Mask, seed: int, *, delta: float) -> float:
    return gaussian_bound(scores, inside, delta=delta, seed=seed).epsilon


def _mu(scores: Floats, inside: Mask, seed: int) -> float:
    mu = gaussian_bound(scores, inside, delta=1e-5, seed=seed).mu
    assert mu is not None
    return mu


def _one(scores: Floats, inside: Mask, seed: int, *, delta: float, pairs=None) -> float:
    return one_run_bound(scores, inside, delta=delta, seed=seed, guesses=pairs).epsilon


def _bounded() -> list[Bounded]:
    mu, small, coarse = 1.0, 1e-5, 0.05
    noise, seen = partial(gaussian, mu=mu), partial(answers, mu=mu)
    leaky = partial(response, epsilon=1.0, delta=coarse)
    all_of = [(500, 500)]
    cases = [
        Bounded(
            title=f"many runs, Gaussian mechanism, delta {delta}",
            truth=gaussian_epsilon(mu, delta),
            mechanism=noise,
            bound=partial(_many, delta=delta),
        )
        for delta in (small, coarse)
    ]
    cases += [
        Bounded(
            title=f"many runs, Gaussian mechanism seen through four values, delta {coarse}",
            truth=epsilon_of_answers(mu, coarse),
            mechanism=seen,
            bound=partial(_many, delta=coarse),
        ),
        Bounded(
            title=f"many runs, leaky randomised response, delta {coarse}",
            truth=1.0,
            mechanism=leaky,
            bound=partial(_many, delta=coarse),
        ),
        Bounded(
            title="many runs, nothing leaks, delta 0",
            truth=0.0,
            mechanism=partial(gaussian, mu=0.0),
            bound=partial(_many, delta=0.0),
        ),
        Bounded(
            title=f"Gaussian bound, Gaussian mechanism, delta {small}",
            truth=gaussian_epsilon(mu, small),
            mechanism=noise,
            bound=partial(_gaussian, delta=small),
        ),
        Bounded(
            title="Gaussian bound, randomised response, its mu",
            truth=2 * float(ndtri(expit(1.0))),
            mechanism=partial(response, epsilon=1.0),
            bound=_mu,
        ),
        Bounded(
            title=f"Gaussian bound, randomised response, its epsilon at delta {small}",
            truth=1.0,
            mechanism=partial(response, epsilon=1.0),
            bound=partial(_gaussian, delta=small),
            holds=False,
        ),
    ]
    for delta in (0.0, small):
        cases.append(
            Bounded(
                title=f"one run, randomised response, all guessed, delta {delta}",
                truth=1.0,
                mechanism=partial(response, epsilon=1.0),
                bound=partial(_one, delta=delta, pairs=all_of),
                inside=by_coins,
            )
        )
    cases += [
        Bounded(
            title=f"one run, Gaussian mechanism, delta {small}",
            truth=gaussian_epsilon(mu, small),
            mechanism=noise,
            bound=partial(_one, delta=small),
            inside=by_coins,
        ),
        Bounded(
            title="one run, leaky randomised response, delta 0.001",
            truth=1.0,
            mechanism=partial(response, epsilon=1.0, delta=0.001),
            bound=partial(_one, delta=0.001),
            inside=by_coins,
        ),
        Bounded(
            title="one run, nothing leaks, delta 0",
            truth=0.0,
            mechanism=partial(gaussian, mu=0.0),
            bound=partial(_one, delta=0.0),
            inside=by_coins,
        ),
        Bounded(
            title="one run, randomised response, one of each two canaries inside instead of coins, delta 0",
            truth=1.0,
            mechanism=partial(twins, epsilon=1.0),
            bound=partial(_one, delta=0.0),
            inside=one_of_two,
            holds=False,
        ),
    ]
    for epsilon in (1.0, 2.0, 4.0):
        said = partial(response, epsilon=epsilon)
        for title, bound, inside in (("many runs", _many, with_and_without), ("one run", _one, by_coins)):
            for size, tight in ((1000, False), (40_000, True)):
                cases.append(
                    Bounded(
                        title=f"{title}, randomised response, delta 0",
                        truth=epsilon,
                        mechanism=said,
                        bound=partial(bound, delta=0.0),
                        inside=inside,
                        size=size,
                        tight=tight,
                    )
                )
    return cases


@dataclass(frozen=True, kw_only=True)
class Search:
    """A game in which some of many points are to be found.

    Attributes:
        title: The p-values and the data, in words.
        play: Which points were found and which are there to be found, from a generator and the share of the latter.
        null: Whether nothing is there.
    """

    title: str
    play: Callable[[Rng, float], tuple[Mask, Mask]]
    null: bool

    def plays(self, games: int) -> tuple[Floats, Floats]:
        """Of each game: share of false ones among those found, share found of those there (NaN if nothing is)."""
        false, power = np.zeros(games), np.full(games, np.nan)
        for game in range(games):
            found, there = self.play(randomness.numpy_generator(SEED, self.title, game), 0.0 if self.null else 0.2)
            false[game] = (found & ~there).sum() / max(1, found.sum())
            if there.any():
                power[game] = (found & there).sum() / there.sum()
        return false, power


def known_nonmembers(rng: Rng, share: float, *, step: float | None = None) -> tuple[Mask, Mask]:
    """200 points against 1,000 known non-members; members score 3 standard deviations higher."""
    there = np.arange(200) < round(share * 200)
    scores, known = rng.normal(size=200) + 3 * there, rng.normal(size=1000)
    if step:
        scores, known = np.floor(scores / step), np.floor(known / step)
    return discovery.members_among(scores, known, rate=RATE).found, there


def own_references(rng: Rng, share: float) -> tuple[Mask, Mask]:
    """100 points, 800 reference models, each trained on half of them; a share of the models' noise is common."""
    there = np.arange(100) < round(share * 100)
    inside = rng.random((800, 100)) < 0.5
    noise = rng.normal(size=(801, 100)) + rng.normal(size=(801, 1))
    scores = noise[0] + 6 * there
    p = discovery.reference_p_values(scores, noise[1:] + 6 * inside, inside)
    return discovery.discover(p, rate=RATE, dependence="any").found, there


def repeated_games(rng: Rng, share: float, *, pairs: bool) -> tuple[Mask, Mask]:
    """60 points in 60 shared targets; a point that is exposed is called a member with .9 when in and .3 when out."""
    there = np.arange(60) < round(share * 60)
    inside = rng.random((60, 60)) < 0.5
    if pairs:
        inside[1::2] = ~inside[::2]
    chance = np.where(there & inside, 0.9, 0.3)
    found = discovery.exposed(rng.random((60, 60)) < chance, inside, rate=RATE, pairs=pairs).found
    return found, there


def _searches() -> list[Search]:
    kinds = {
        "known non-members, continuous scores": known_nonmembers,
        "known non-members, scores in steps of 1 standard deviation": partial(known_nonmembers, step=1.0),
        "reference models that share half their noise, Benjamini-Yekutieli": own_references,
        "repeated games, Fisher": partial(repeated_games, pairs=False),
        "repeated games in pairs, McNemar": partial(repeated_games, pairs=True),
    }
    return [Search(title=title, play=play, null=null) for null in (False, True) for title, play in kinds.items()]


BOUNDED, SEARCHES = _bounded(), _searches()

HEAD = """# Bounds on epsilon and false discovery rates in games of known truth
Made by `{command}`: {games:,} games of each kind, seed {seed}, {seconds:.0f} s while other
programs ran; {versions}. What the bounds say: [docs/metrics.md](../docs/metrics.md).

## Bounds
At 95 %. A bound that holds exceeds the truth in at most {limit} of {games:,} games, but for bad luck of {luck:.1f} in
1,000. `n`: runs with and as many without the canary, or canaries in one run. Where the last column says no, an
assumption is broken on purpose: such a bound must not be believed.

| bound, mechanism | n | truth | median | exceed the truth | of it: lowest, median | within 10 % | meant to hold |
|---|---|---|---|---|---|---|---|
"""

MIDDLE = """
## False discovery rate
Asked for: on average at most {rate:.0%} false ones among the points found; where nothing is there, anybody found in at
most {rate:.0%} of the games. ± one standard error.

| p-values, data | something there | false among found | found of those there | games with a false one |
|---|---|---|---|---|
"""


def main() -> None:
    """Plays everything and writes EPSILON.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--games", type=int, default=GAMES)
    games, begun = parser.parse_args().games, time.monotonic()
    bounds = [_bound_row(case, case.play(games)) for case in _told(BOUNDED)]
    searches = [_search_row(case, *case.plays(games)) for case in _told(SEARCHES)]
    made = environment_of(SEED, time.monotonic() - begun, torch.device("cpu"))
    limit = int(binom.ppf(LUCK, games, 0.05))
    head = HEAD.format(
        command="python studies/epsilon.py" + ("" if games == GAMES else f" --games {games}"),
        games=games,
        seed=SEED,
        seconds=made.seconds,
        versions=", ".join(f"{name} {made.versions[name]}" for name in ("python", "hardlabel", "numpy", "scipy")),
        limit=limit,
        luck=1000 * binom.sf(limit, games, 0.05),
    )
    path = Path(__file__).with_name("EPSILON.md")
    path.write_text(head + "\n".join(bounds) + "\n" + MIDDLE.format(rate=RATE) + "\n".join(searches) + "\n")
    print(path)


def _told(cases):
    for case in cases:
        begun = time.monotonic()
        yield case
        print(f"{time.monotonic() - begun:6.1f} s  {case.title}", flush=True)


def _bound_row(case: Bounded, bounds: Floats) -> str:
    over, share, near = int((bounds > case.truth).sum()), "", ""
    if case.truth:
        share = f"{bounds.min() / case.truth:.3f}, {np.median(bounds) / case.truth:.3f}"
        near = f"{int((bounds >= 0.9 * case.truth).sum()):,}" if case.tight else ""
    return (
        f"| {case.title} | {case.size:,} | {case.truth:.3f} | {np.median(bounds):.3f} | {over:,} | {share} | {near} "
        f"| {'yes' if case.holds else 'no'} |"
    )


def _search_row(case: Search, false: Floats, power: Floats) -> str:
    found = "" if case.null else f"{np.nanmean(power):.3f}"
    error = false.std() / len(false) ** 0.5
    there = "no" if case.null else "yes"
    return f"| {case.title} | {there} | {false.mean():.3f} ± {error:.3f} | {found} | {int((false > 0).sum()):,} |"


if __name__ == "__main__":
    main()
