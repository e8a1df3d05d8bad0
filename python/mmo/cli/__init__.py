"""The command line: one file a command group.

Owns the entry `main` and the rim where no error passes as a traceback. A command group is a module
here with `register(app)`; what a command needs it imports when it runs, so that `status` stays
quick. Called as `mmo-cluster` and as `python -m mmo.cli`.
"""


def main() -> None:
    """Run one command and exit with 0 ok, 1 failed, 2 usage, 3 not running, 4 partial."""
    import sys

    from mmo.cli.rim import run_guarded

    sys.exit(run_guarded(sys.argv[1:]))
