"""A game server cluster: game rules in Python on a core in Rust. This package imports nothing by
itself."""
