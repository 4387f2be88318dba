"""The case of a model and samples that the caller gives as objects."""

from collections.abc import Callable
from importlib import metadata

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain, infer_domain
from hardlabel.data.samples import Samples
from hardlabel.data.split import content
from hardlabel.experiments.case import FEWEST_SHADOW, Case, Oracles, ShadowPlan
from hardlabel.models.kept import content_hash

Pair = tuple[ArrayLike | Tensor, ArrayLike | Tensor]


def case_of(
    target: Oracles,
    description: str,
    members: Pair,
    nonmembers: Pair,
    *,
    population: Pair | None,
    trainer: Callable[..., object] | None,
    train_size: int | None,
    domain: Domain | None,
    shadow_labels: str,
    seed: int,
    name: str,
) -> Case:
    """The case of a model and samples given as objects; see `hardlabel.audit`."""
    checks.one_of(("true", "target"), shadow_labels=shadow_labels)
    arrays = {"members": _arrays(members, "members"), "nonmembers": _arrays(nonmembers, "nonmembers")}
    if population is not None:
        arrays["population"] = _arrays(population, "population")
    notes = []
    if domain is None:
        shapes = {tuple(inputs.shape[1:]) for inputs, _ in arrays.values()}
        if len(shapes) > 1:
            told = ", ".join(f"{group} {tuple(inputs.shape)}" for group, (inputs, _) in arrays.items())
            raise InvalidInput(f"inputs must agree in shape, got {told}")
        domain = infer_domain(torch.cat([inputs for inputs, _ in arrays.values()]))
        notes.append(f"The domain was inferred from the inputs: {domain.kind}, {domain}.")
    samples: dict[str, Samples] = {}
    start = 0
    for group, (inputs, labels) in arrays.items():
        samples[group] = _samples(inputs, labels, start, domain, group)
        start += len(inputs)
    _refuse_shared(samples["members"], samples["nonmembers"])
    free = samples.get("population")
    if free is not None:
        free, dropped = _without(free, samples["members"], samples["nonmembers"], seed=seed)
        if dropped:
            notes.append(f"{dropped} population samples are attacked as well and were set aside.")
    shadow, why = _shadow_plan(
        free,
        trainer,
        train_size,
        given=len(samples["members"]),
        arrays=not isinstance(members[0], Tensor),
        labels=shadow_labels,
    )
    unused = _unused(free, shadow)
    return Case(
        data=name,
        target=target,
        target_description=description,
        classes=None,
        members=samples["members"],
        nonmembers=samples["nonmembers"],
        population=unused,
        shadow=shadow,
        why_no_shadow=why,
        identity={
            "target": name,
            "domain": repr(domain),
            "versions": [metadata.version("hardlabel")],
            "samples": [content_hash(samples["members"]), content_hash(samples["nonmembers"])],
            "population": content_hash(unused) if unused is not None else None,
        },
        notes=tuple(notes),
    )


def _refuse_shared(members: Samples, nonmembers: Samples) -> None:
    """Refuses a sample that is both member and non-member.

    Raises:
        InvalidInput: Some inputs stand in both groups.
    """
    inside = content(members.inputs)
    shared = set(inside) & set(content(nonmembers.inputs))
    if shared:
        row = next(i for i, one in enumerate(inside) if one in shared)
        raise InvalidInput(
            f"members and nonmembers must not share inputs, got {len(shared)} in both (the first is members[{row}])"
        )


def _arrays(pair: Pair, name: str) -> tuple[Tensor, Tensor]:
    try:
        inputs, labels = pair
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be a pair (inputs, labels), got {type(pair).__name__}") from error
    try:
        tensors = _tensor(inputs), _tensor(labels)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must hold arrays of numbers: {error}") from error
    if not len(tensors[0]) or tensors[0].ndim < 2:
        raise InvalidInput(f"{name} must hold at least one sample (n, ...), got shape {tuple(tensors[0].shape)}")
    if tensors[1].shape != (len(tensors[0]),) or tensors[1].is_floating_point():
        raise InvalidInput(
            f"labels of {name} must be whole numbers ({len(tensors[0])},), "
            f"got {tensors[1].dtype} {tuple(tensors[1].shape)}"
        )
    return tensors[0].to(torch.float32), tensors[1].to(torch.int64)


def _tensor(values: ArrayLike | Tensor) -> Tensor:
    return values.detach().cpu() if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))


def _samples(inputs: Tensor, labels: Tensor, start: int, domain: Domain, name: str) -> Samples:
    domain.check(inputs, name)
    ids = torch.arange(start, start + len(inputs))
    return Samples(ids=ids, inputs=inputs, labels=labels, domain=domain)


def _without(samples: Samples, *others: Samples, seed: int) -> tuple[Samples, int]:
    """The samples whose inputs stand in none of `others`, shuffled, and how many were dropped."""
    taken = {one for other in others for one in content(other.inputs)}
    fresh = torch.tensor([one not in taken for one in content(samples.inputs)]).nonzero()[:, 0]
    order = torch.randperm(len(fresh), generator=randomness.generator(seed, "population"))
    return samples.take(fresh[order]), len(samples) - len(fresh)


def _unused(population: Samples | None, shadow: ShadowPlan | None) -> Samples | None:
    """The population less what the shadow model was trained on or is asked about, or None where nothing is left."""
    if population is None or shadow is None:
        return population
    rest = population.take(slice(len(shadow.members) + shadow.attacked, None))
    return rest if len(rest) else None


def _shadow_plan(
    population: Samples | None,
    trainer: Callable[..., object] | None,
    train_size: int | None,
    *,
    given: int,
    arrays: bool,
    labels: str,
) -> tuple[ShadowPlan | None, str]:
    """The plan, or None and why there is none."""
    if trainer is None or population is None:
        missing = " and ".join(
            name for name, thing in (("trainer", trainer), ("population", population)) if thing is None
        )
        return None, f"no shadow model could be trained without {missing}"
    size = given if train_size is None else train_size
    checks.at_least(FEWEST_SHADOW, train_size=size)
    if len(population) < size + FEWEST_SHADOW:
        return None, (
            f"no shadow model could be trained: population has {len(population)} usable samples, "
            f"train_size {size} and {FEWEST_SHADOW} non-members need {size + FEWEST_SHADOW}"
        )
    note = ""
    if train_size is None:
        note = f"The target's training size was not given; the shadow model is trained on {size}, the members given."

    def fit(samples: Samples, seed: int) -> object:
        inputs, classes = samples.inputs.cpu(), samples.labels.cpu()
        return trainer(inputs.numpy(), classes.numpy(), seed=seed) if arrays else trainer(inputs, classes, seed=seed)

    plan = ShadowPlan(
        members=population.take(slice(0, size)),
        nonmembers=population.take(slice(size, None)),
        attacked=max(given, FEWEST_SHADOW),
        fit=fit,
        labels=labels,
        description=getattr(trainer, "__name__", type(trainer).__name__),
        note=note,
    )
    return plan, ""
