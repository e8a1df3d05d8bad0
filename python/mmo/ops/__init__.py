"""The operator's questions about a cluster that runs, each answered from what is stored."""
