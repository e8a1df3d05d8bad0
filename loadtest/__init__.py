"""Load tests: locust's users and shapes over `mmo.client`, the gates that judge a run, its report.

`python -m loadtest.run --profile plateau` (`make load`) is the whole; `locust -f
loadtest/locustfile.py` beside a running cluster is the generator alone.
"""
