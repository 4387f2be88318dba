"""Figure 4: a training pipeline of higher accuracy, its augmentations on and off."""

from hardlabel.reproduction.attacks import PIPELINE
from hardlabel.reproduction.declared import TEST_ACCURACY, Cell, Claim, Experiment, Figure, Play
from hardlabel.reproduction.scales import Scale

EPOCHS = 100


def experiment(scale: Scale) -> Experiment:
    """The figure at a scale."""
    copies = "pipeline=1000"
    size, arch = (12_000, "resnet18") if scale.name == "paper" else (5_000, "resnet8")
    augmentations = PIPELINE
    if scale.smoke:
        copies, size, augmentations = "pipeline=20", 100, "mirror+shift:2+cutout:4"
    attacks = ("gap", "shadow-network", copies)
    moved = {"augment": [augmentations], "weight_decay": 5e-4}
    return Experiment(
        name="figure4",
        title="Figure 4: a pipeline of higher accuracy",
        paper="Where the pipeline's augmentations were trained with, the augmentation attack matches or beats the "
        "attack that sees the confidence vector.",
        differs=[
            "The paper's network is a ResNet-28 that also learns from images without labels, of 96 % test accuracy. "
            f"Ours learns from labelled images only, for {EPOCHS} epochs: a ResNet of 8 layers and 5,000 images at the "
            "scale cpu, a ResNet-18 and 12,000 images at the scale paper.",
            "Cutout puts its square of 16 pixels in one of 81 places, and shifts go by up to 4 pixels in all, so that "
            "there are 6,724 copies of an image; the 1,000 that are asked about are drawn from these.",
        ],
        cells=[
            Cell(
                name=name,
                row=row,
                settings=scale.settings("cifar10", size, arch=arch, learning_rate=3e-3, max_epochs=EPOCHS, **moves),
                plays=(Play(attacks=attacks, samples=min(scale.many, 250)),),
                targets=scale.targets,
            )
            for name, row, moves in (
                ("augmented", "augmentations and weight decay on", moved),
                ("plain", "augmentations and weight decay off", {}),
            )
        ],
        claims=[
            Claim(
                number="C5",
                text="with augmentations on, the augmentation attack matches the confidence vector",
                left=Figure("augmented", copies),
                right=Figure("augmented", "shadow-network"),
                margin=0.02,
            ),
            Claim(
                number="",
                text="the pipeline raises test accuracy",
                left=Figure("augmented", TEST_ACCURACY),
                right=Figure("plain", TEST_ACCURACY),
            ),
        ],
    )
