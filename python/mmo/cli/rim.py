"""The rim of the command line: runs one command and turns every failure into a code with a fix.

Owns the exit codes and the print of errors. Never lets a traceback reach the operator: it goes to a
file that the message names. Called by `main`.
"""

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence

from mmo.errors import OperatorError

OK, FAILED, USAGE, NOT_RUNNING, PARTIAL = range(5)

_NOT_RUNNING_CODES = ("E0701", "E0733")  # nothing runs; what runs is watched by nobody
_UNEXPECTED_CODE = "E0001"


def run_guarded(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; returns the exit code."""
    as_json = "--json" in arguments

    def command() -> int:
        from mmo.cli.app import run_command

        return run_command(list(arguments))

    return guard(command, as_json)


def guard(command: Callable[[], int], as_json: bool) -> int:
    """Run `command`; print what it raises and return the exit code for it."""
    try:
        return command()
    except OperatorError as error:
        report(error, as_json)
        return NOT_RUNNING if error.code in _NOT_RUNNING_CODES else FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader of a pipe left (`| head`): nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        report(
            OperatorError(
                _UNEXPECTED_CODE,
                f"unexpected failure: {type(error).__name__}: {error}",
                f"a defect of ours; the details are in {_write_traceback()}",
            ),
            as_json,
        )
        return FAILED


def report(error: OperatorError, as_json: bool) -> None:
    """Code, cause, the line that fixes it; as JSON on standard output where a script asked."""
    if as_json:
        import json

        said = {"code": error.code, "cause": error.cause, "fix": error.fix}
        print(json.dumps({"error": said}))
    print(error, file=sys.stderr)
    if error.code != _NOT_RUNNING_CODES[0]:
        print(f"       more       mmo-cluster explain {error.code}", file=sys.stderr)


def _write_traceback() -> str:
    """Where the traceback is now."""
    try:
        prefix = f"mmo-cluster-{time.strftime('%Y%m%d-%H%M%S')}-"
        descriptor, path = tempfile.mkstemp(".txt", prefix)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(traceback.format_exc())
    except OSError as fault:
        return f"no file: {fault}"
    return path
