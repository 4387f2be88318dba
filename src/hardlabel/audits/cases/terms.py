"""What is asked of an audit, and which attacks it runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hardlabel import attacks
from hardlabel.attacks import Attack, Need, Rung, ScoreAttack, ladder
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.runs.settings import Attacker, Focus, RunSettings

MOST_QUERIES = 1_000_000  # An attack that would send the target more runs only if it is asked for by name.


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is asked of an audit.

    Attributes:
        attacks: Names of attacks, or attacks of the caller's own; None for all that suit.
        budget: Most queries per sample and attack; None for each attack's usual number.
        seed: Fixes every random draw.
        attacker: What the attacker has and knows.
        focus: What the report shows besides the average record.

    Raises:
        InvalidInput: A value has the wrong type.
    """

    attacks: tuple[str | Attack, ...] | None = None
    budget: int | None = None
    seed: int = 0
    attacker: Attacker = field(default_factory=Attacker)
    focus: Focus = field(default_factory=Focus)

    def __post_init__(self) -> None:
        for name, number in (("budget", self.budget), ("seed", self.seed)):
            if number is not None and not isinstance(number, int):
                raise InvalidInput(f"{name} must be a whole number, got {number!r}")

    @classmethod
    def given(
        cls, attacks: Iterable[str | Attack] | None, budget: int | None, seed: int, attacker: Attacker, focus: Focus
    ) -> "Terms":
        """The terms of a call from Python.

        Raises:
            InvalidInput: `attacks` is one name instead of a list.
        """
        if isinstance(attacks, str):
            raise InvalidInput(f"attacks must be a list of names, got the string {attacks!r}")
        names = None if attacks is None else tuple(attacks)
        return cls(attacks=names, budget=budget, seed=seed, attacker=attacker, focus=focus)

    @classmethod
    def of(cls, settings: RunSettings) -> "Terms":
        """The terms in a run's settings. A setting that this kind of run does not have takes its default."""
        stated = dict(settings)
        attacker = Attacker(**{name: stated[name] for name in Attacker.model_fields if name in stated})
        focus = Focus(**{name: stated[name] for name in Focus.model_fields if name in stated and name != "slices"})
        return cls.given(stated.get("attacks"), stated.get("budget"), settings.seed, attacker, focus)

    @property
    def names(self) -> list[str] | None:
        """The names of the attacks asked for, or None."""
        if self.attacks is None:
            return None
        return [attack if isinstance(attack, str) else attack.name for attack in self.attacks]

    def chosen(self, domain: Domain, *, missing: Mapping[Need, str], attacked: int) -> "Chosen":
        """The attacks to run, the attacks left out with the reason, and the attack that the ladder names.

        - Names: these attacks run. "all" runs everything that can be run.
        - No names, no budget: the ladder's label-only attack and the standard attacks that suit run, with fewer queries
          where few suffice. Attacks that would send the target more than MOST_QUERIES in all are left out.
        - No names, a budget: the ladder's label-only attack runs, with the gap attack and the standard attacks that
          see scores.

        Args:
            domain: The samples' domain.
            missing: What the attacker cannot have, with the reason.
            attacked: Number of attacked samples.

        Raises:
            InvalidInput: An attack asked for cannot be run, or a worst case is asked for without reference models.
        """
        if self.focus.worst_case is not None and Need.REFERENCES in missing:
            why = missing[Need.REFERENCES]
            raise InvalidInput(f"worst_case needs reference models trained with and without the points: {why}")
        names = None if self.attacks == ("all",) else self.attacks
        suitable, left_out = attacks.chosen(names, domain, self.budget)
        rung = ladder.best(domain, self.budget or ladder.USUAL, missing)
        to_run = []
        for attack in suitable:
            reason = attack.unplayable(missing=missing)
            if reason is not None and names is not None:
                raise InvalidInput(f"attack {attack.name!r} cannot be run: {reason}")
            if self.attacks is None:
                if not attack.standard and attack.name != rung.attack:
                    continue
                attack = replace(attack, usual=attack.brief or attack.usual)
                reason = reason or self._why_skipped(attack, rung, attacked)
            if reason is not None:
                left_out[attack.name] = reason
            else:
                per_class = self.attacker.networks == "class"
                to_run.append(attacks.with_networks_per_class(attack) if per_class else attack)
        if self.attacks is None:
            left_out = {name: reason for name, reason in left_out.items() if attacks.TABLE[name].standard}
        return Chosen(rows=to_run, left_out=left_out, rung=rung)

    def _why_skipped(self, attack: Attack, rung: Rung, attacked: int) -> str | None:
        """Why an attack is skipped unless it is asked for by name; None if it runs."""
        if isinstance(attack, ScoreAttack) or attack.name in (rung.attack, "gap"):
            return None
        if self.budget is not None:
            return f"{rung.attack} is the strongest within {self.budget} queries; ask for this one by name"
        queries = attack.usual * attacked
        if queries > MOST_QUERIES:
            return f"it would send the target up to {queries:,} queries; ask for it by name"
        return None


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What an audit runs.

    Attributes:
        rows: The attacks, in the order of the table.
        left_out: The names of other attacks, with the reason.
        rung: The label-only attack that the ladder names, and why.
    """

    rows: list[Attack]
    left_out: dict[str, str]
    rung: Rung
