"""The game: pure rules, one file a system. A rule decides and returns; it does nothing itself.

Hot: a reload replaces these modules, so none of them holds state. Named by roles, run by the node.
"""
