"""Print the names of `bench --list --json` or `prove --list --json`, one a line. Called by make."""

import json
import sys

for name in json.load(sys.stdin):
    print(name)
