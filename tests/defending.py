"""Digits, a plain network on them and what its defender has, for the tests of defenses."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import RecipeTrainer

RECIPE = Recipe(architecture="fc", max_epochs=25)
CPU = torch.device("cpu")


def digits(count=1000):
    data = load_digits()
    inputs = torch.from_numpy((data.images[:count, None] / 16).astype(np.float32))
    labels = torch.from_numpy(data.target[:count].astype(np.int64))
    return Samples(ids=torch.arange(count), inputs=inputs, labels=labels, domain=Box((1, 8, 8)))


EVERYONE = digits()
MEMBERS, RESERVE, OTHERS = (EVERYONE.take(slice(*ends)) for ends in ((0, 200), (200, 400), (400, 1000)))


def plain(recipe=RECIPE):
    return RecipeTrainer(recipe=recipe, classes=10, device=CPU)


def defender(**changes):
    given = {"domain": EVERYONE.domain, "classes": 10, "train_size": 200, "reserve": RESERVE, "device": CPU}
    return Defender(**{**given, **changes})
