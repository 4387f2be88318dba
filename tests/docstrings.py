"""What the tests of docstrings share: which names a text describes, and running its examples."""

import doctest
import re


def undescribed(names, text):
    """The attributes that a text does not describe, in words."""
    return [f"attribute {name}" for name in names if not re.search(rf"\b{name}\b[^\n]*: \S", text)]


def cases_of(thing, name, module=None):
    """The examples of a thing. They know no name of its module: a reader copies an example as it stands."""
    return doctest.DocTestFinder().find(thing, name, module, globs={"__name__": "__main__"})


def ran(cases, flags):
    """How many lines of the cases failed, and how many there were."""
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    for case in cases:
        runner.run(case)
    return runner.summarize(verbose=False)
