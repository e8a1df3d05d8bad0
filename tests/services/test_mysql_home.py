"""A MariaDB of our own lives in its home alone."""

from pathlib import Path
from typing import Any

import mysql.connector
import pytest

from mmo.cluster.mysql_server import ManagedMysql

pytestmark = pytest.mark.services


def test_temporary_tables_are_kept_in_the_home(mysql_server: ManagedMysql) -> None:
    """In a shared directory another starting server would remove them."""
    connection: Any = mysql.connector.connect(
        unix_socket=str(mysql_server.socket_path),
        user=mysql_server.user,
        password=mysql_server.password,
        use_pure=True,
    )
    cursor = connection.cursor()
    cursor.execute("SELECT @@tmpdir, @@datadir")
    [(scratch, data)] = cursor.fetchall()
    connection.close()
    for path in (scratch, data):
        assert Path(path).is_relative_to(mysql_server.directory.absolute())
