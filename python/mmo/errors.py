"""Every error that Python raises, in one small tree.

Owns the classes and the operator codes they carry; never catches anything. Four failures, four
treatments (design 8): bugs are assertions, peer faults are close reasons of the core, refusals are
values (`contract.Refuse`), and only the rest is an exception of this file.
"""


class MmoError(Exception):
    """Base of all errors of this package."""


class OperatorError(MmoError):
    """Something the operator can mend: a code, a cause and the line that fixes it.

    `code` is `E` and four digits and has a page for `mmo-cluster explain`.
    """

    def __init__(self, code: str, cause: str, fix: str = "") -> None:
        super().__init__(f"{code}  {cause}" + (f"\n       fix        {fix}" if fix else ""))
        self.code = code
        self.cause = cause
        self.fix = fix


class ConfigError(OperatorError):
    """A configuration value that is unknown, of the wrong type, out of range or contradictory."""


class ContentError(OperatorError):
    """A content table that does not fit its schema or another table; names file and row."""


class StoreError(MmoError):
    """Base of what the stores raise."""


class StoreUnavailable(StoreError):
    """The store did not answer in time or refused the connection. Retryable; nothing is known to be
    changed, and an operation in flight must be run again with the same operation id."""


class StoreCorrupt(StoreError):
    """A guarded statement changed another number of rows than it must: page someone."""


class WireError(MmoError):
    """A body that does not decode into its message; the text names the place."""
