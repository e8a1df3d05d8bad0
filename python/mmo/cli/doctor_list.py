"""Every check of `doctor` in the order of its table, each with the code that explains it.

Owns the list only. Called by `doctor`.
"""

from collections.abc import Callable

from mmo.cli import doctor_checks as checks
from mmo.cli import doctor_cluster as cluster
from mmo.cluster.home import Home
from mmo.config import Config

CHECKS: tuple[tuple[str, str, Callable[[Config, Home], checks.Finding]], ...] = (
    ("python", "E0801", checks.check_python),
    ("core", "E0802", checks.check_core),
    ("core settings", "E0803", checks.check_core_settings),
    ("drivers", "E0804", checks.check_driver),
    ("open files", "E0805", checks.check_open_files),
    ("cores", "E0806", checks.check_cores),
    ("memory", "E0807", checks.check_memory),
    ("overcommit", "E0808", cluster.check_overcommit),
    ("disk", "E0809", checks.check_disk),
    ("logs", "E0810", cluster.check_logs),
    ("clock", "E0811", checks.check_clock),
    ("addresses", "E0812", checks.check_address),
    ("ports", "E0813", checks.check_ports),
    ("accept backlog", "E0814", checks.check_backlog),
    ("socket paths", "E0815", checks.check_socket_paths),
    ("redis server", "E0816", checks.check_redis_server),
    ("mysql server", "E0817", checks.check_mysql_server),
    ("secrets", "E0818", checks.check_secrets),
    ("tls", "E0819", checks.check_tls),
    ("leftovers", "E0820", checks.check_leftovers),
    ("schema", "E0821", checks.check_schema),
    ("database clock", "E0822", cluster.check_database_clock),
    ("nodes", "E0823", cluster.check_nodes),
    ("links", "E0824", cluster.check_links),
    ("database", "E0825", cluster.check_stores),
    ("generations", "E0826", cluster.check_generations),
    ("event loops", "E0827", cluster.check_loop),
    ("figures", "E0828", cluster.check_figures),
)
