"""`python -m mmo.cli`: the same as `mmo-cluster`."""

from mmo.cli import main

main()
