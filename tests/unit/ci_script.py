"""The scripts of `.ci`, which no package holds, as modules.

Owns how they are loaded. Used by their tests.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

CI = Path(__file__).resolve().parents[2] / ".ci"


def loaded(name: str) -> ModuleType:
    """The script `.ci/NAME.py`."""
    if str(CI) not in sys.path:
        sys.path.append(str(CI))  # they import each other, as they do when they are run
    spec = importlib.util.spec_from_file_location(f"ci_{name}", CI / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
