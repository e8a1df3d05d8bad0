"""A driver in which the steps that check the database's identity have other names."""

from pathlib import Path

import pytest

from mmo.errors import StoreError
from mmo.store.tls import REPLACED, VerifiedConnection


@pytest.mark.parametrize(("kind", "name"), REPLACED)
async def test_a_driver_without_what_is_replaced_is_refused_before_it_connects(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type, name: str
) -> None:
    connection = VerifiedConnection()
    with pytest.raises(OSError):
        connection.trust(str(tmp_path / "none.pem"), "database")
    for owner in kind.__mro__:
        if name in vars(owner):
            monkeypatch.delattr(owner, name)
    with pytest.raises(StoreError, match=f"has no .*{name}"):
        connection.trust(str(tmp_path / "none.pem"), "database")
