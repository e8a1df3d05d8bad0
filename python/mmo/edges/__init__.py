"""Async calls to the outside that turn one message into another. They decide nothing."""
