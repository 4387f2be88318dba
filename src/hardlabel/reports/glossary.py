"""The words of the field that a page uses, each with its meaning, and links to them."""

from collections.abc import Sequence

from markupsafe import Markup

from hardlabel.reports.svg import element

TERMS = {
    "member": ("Member", "A record that the model asked was trained on."),
    "nonmember": ("Non-member", "A record of the same kind that the model was not trained on."),
    "target": ("Target", "The model that is attacked."),
    "recipe": (
        "Recipe",
        "A way of training: the kind of model, its settings, and how much of which data it sees.",
    ),
    "query": ("Query", "One input sent to a model, and its answer."),
    "label": ("Label only", "The attacker sees the predicted class and nothing else: no confidences, no parameters."),
    "confidences": ("Confidences", "The probability that the model gives to each class."),
    "fpr": ("FPR, false alarms", "The share of non-members that an attack calls members."),
    "tpr": ("TPR, members found", "The share of members that an attack calls members."),
    "auc": (
        "AUC",
        "How often a random member scores higher than a random non-member, ties counting half: 0.5 is guessing, 1 is "
        "certainty.",
    ),
    "balanced": (
        "Balanced accuracy",
        "How often an attack is right if members and non-members are equally frequent: 50 % is guessing.",
    ),
    "precision": (
        "Precision",
        "The share of members among the records called members: in the groups of this audit, or if members are as rare "
        "as the prior says. It depends on the threshold.",
    ),
    "prior": (
        "Prior",
        "The share of members among all records that an attacker would ask about. Nobody knows it; the report assumes "
        "one (--prior).",
    ),
    "threshold": ("Threshold", "The score from which an attack calls a record a member."),
    "interval": (
        "Interval",
        "A range computed so that it holds the true figure in a given share of audits like this one, usually 95 %.",
    ),
    "blind": (
        "Blind baseline",
        "A classifier that never sees the model, trained to tell members from non-members. If it can, the groups "
        "differ and figures are inflated. If it is wrong more often than guessing would be, copies of records stand in "
        "both groups.",
    ),
    "shadow": ("Shadow model", "A model that the attacker trains on data of its own, to learn how members look."),
    "reference": (
        "Reference model",
        "A model that the attacker trains with or without the records it asks about, to learn how answers look in "
        "either case.",
    ),
    "ladder": (
        "Ranking, or ladder",
        "An order of the label-only attacks, measured on other models. It names the strongest attack for a number of "
        "queries and for what the attacker has.",
    ),
    "gap": ("Gap attack", "The simplest attack: a record that the model classifies correctly is called a member."),
    "fdr": (
        "False discovery rate",
        "The share of wrong names that is expected on a list of records named as members.",
    ),
    "pseudonym": (
        "Pseudonym",
        "A name for a record, the same in all reports of one data holder. Only the holder can resolve it.",
    ),
    "defense": (
        "Defense",
        "A measure of the model's owner against membership inference: in training, or when the model answers.",
    ),
    "adaptive": ("Adaptive attacker", "An attacker who knows about the defense and trains its own models with it."),
    "front": (
        "Front",
        "The defenses that no other defense beats in accuracy or leakage without being worse in the other.",
    ),
    "canary": ("Canary", "A made-up record. A coin decides whether the model is trained on it."),
    "epsilon": (
        "Epsilon, delta",
        "Differential privacy: adding or removing a record makes no answer more than e to the power of epsilon times "
        "as likely, apart from a chance of delta.",
    ),
    "odds": (
        "Even odds",
        "Before any answer is seen, a record is as likely trained on as not. No answer raises these odds above "
        "e^epsilon to 1, apart from a chance of delta.",
    ),
    "bound": ("Lower bound", "A figure computed so that it rarely lies above the truth: at 95 %, in 5 of 100 audits."),
}
AUDIT = (
    *("member", "nonmember", "target", "query", "label", "confidences", "fpr", "tpr", "auc", "balanced", "precision"),
    *("prior", "threshold", "interval", "blind", "shadow", "reference", "ladder", "gap", "fdr", "pseudonym"),
)
RECIPE = (
    *("recipe", "member", "nonmember", "target", "query", "label", "confidences", "fpr", "tpr", "auc", "precision"),
    *("threshold", "interval", "reference", "ladder", "gap", "fdr", "pseudonym"),
)
DEFENSES = (
    *("defense", "adaptive", "front", "member", "nonmember", "query", "label", "confidences", "fpr", "tpr", "auc"),
    *("interval", "reference", "epsilon"),
)
CANARIES = ("canary", "epsilon", "odds", "bound", "member", "query", "label", "confidences")


def entries(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """The key, the word and its meaning for each name, in alphabetical order of the words."""
    return sorted(((name, *TERMS[name]) for name in names), key=lambda entry: entry[1].lower())


def term(name: str, words: str | None = None) -> Markup:
    """A link to a word's meaning, which also shows under the pointer.

    Example:
        >>> from hardlabel.reports.glossary import term
        >>> print(term("recipe", "recipes"))
        <a class="term" href="#term-recipe" title="A way of training: ...">recipes</a>
    """
    title, meaning = TERMS[name]
    return element("a", {"class": "term", "href": f"#term-{name}", "title": meaning}, title if words is None else words)
