"""Scripts outside of the package as modules: of docs, studies and ci."""

import importlib.util
import sys


def loaded(path):
    """The script at a path, as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look their module up.
    spec.loader.exec_module(module)
    return module
