"""A private RabbitMQ node as a child process: loopback only, its own data, its own password.

What each variable is for: https://www.rabbitmq.com/docs/configure#supported-environment-variables
"""

import asyncio
import os
import secrets
from pathlib import Path

import aiohttp

from infra.local.processes import Process, find_program, free_ports, replies
from infra.local.secrets import make_secrets

HOW = (
    "Install it with `apt-get install -y --no-install-recommends rabbitmq-server` (Debian, Ubuntu) "
    "or `brew install rabbitmq` (macOS)"
)
UNWRAPPED = ("/usr/lib/rabbitmq/bin",)
"""Where Debian has the programs themselves; those in PATH are wrappers tied to the system's node and user."""

PROTOCOL_HEADER = b"AMQP\0\0\x09\x01"

FILES = Path(__file__).parents[1] / "rabbitmq"
"""The configuration, the definitions and the start script, shared with Compose."""
USERS = ("gateway", "worker", "operator")

LOCAL = """
# Added by the local stack: a folder of its own, and loopback only.
load_definitions = {definitions}
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
vm_memory_high_watermark.relative = 0.2
disk_free_limit.absolute = 50MB
"""


class RabbitNode(Process):
    """A RabbitMQ node with its management page; `kill` and `start` again keep its data."""

    ready_seconds = 90.0
    """It takes 5 s on a quiet machine, has taken 13 s on a busy one, and takes longer in CI."""

    def __init__(self, folder: Path, *, name: str = "rabbitmq") -> None:
        self.amqp_port, self.management_port, epmd_port, dist_port = free_ports(4)
        self.secrets = folder / "secrets"
        self.definitions = folder / "definitions.json"
        """The file that the node loads when it starts, passwords included."""
        make_secrets(self.secrets, [f"rabbitmq_{user}" for user in USERS])
        _make_cookie(folder)
        self.user, self.password = "operator", self.secret("operator").read_text()
        self.vhost = "/"
        server = find_program("rabbitmq-server", how=HOW, first=UNWRAPPED)
        self._ctl = find_program("rabbitmqctl", how=HOW, first=UNWRAPPED)
        env = _environment(folder, epmd_port=epmd_port, dist_port=dist_port)
        env["FACTORLINE_SECRETS"] = str(self.secrets)
        env["FACTORLINE_DEFINITIONS"] = str(self.definitions)
        command = ["sh", str(FILES / "start.sh"), server]
        super().__init__(name, command, folder=folder, env=env)
        epmd = find_program("epmd", how=HOW, first=_beside_erl())
        arguments = [epmd, "-port", str(epmd_port), "-address", "127.0.0.1"]
        self._epmd = Process(f"{name}-epmd", arguments, folder=folder, env=env)
        self._configure()

    def secret(self, user: str) -> Path:
        """Return the file that holds a user's password."""
        return self.secrets / f"rabbitmq_{user}"

    def url_of(self, user: str) -> str:
        """Return the AMQP URL of one of `USERS`, without the password."""
        return f"amqp://{user}@127.0.0.1:{self.amqp_port}/"

    @property
    def amqp_url(self) -> str:
        """The AMQP URL of a user with all rights, password included."""
        vhost = "" if self.vhost == "/" else self.vhost
        return f"amqp://{self.user}:{self.password}@127.0.0.1:{self.amqp_port}/{vhost}"

    @property
    def management_url(self) -> str:
        """The URL of the management page, which asks for `user` and `password`."""
        return f"http://127.0.0.1:{self.management_port}/"

    def spawn(self) -> None:
        """Start the node and the port mapper that it needs."""
        self._epmd.spawn()
        super().spawn()

    async def ready(self) -> bool:
        """Return whether the node answers the AMQP protocol header."""
        return await replies(self.amqp_port, PROTOCOL_HEADER)

    def kill(self) -> None:
        """Kill the node at once."""
        if self.running:
            self.kill_group()

    async def stop(self, *, grace_seconds: float = 20.0) -> None:
        """Stop the node, then its port mapper."""
        await super().stop(grace_seconds=grace_seconds)
        await self._epmd.stop()

    async def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on this node and return what it printed (about half a second)."""
        child = await asyncio.create_subprocess_exec(
            self._ctl,
            "--quiet",
            *arguments,
            env=self.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await child.communicate()
        if child.returncode:
            raise self._failure(f"refused `rabbitmqctl {' '.join(arguments)}`: {printed.decode()}")
        return printed.decode()

    async def use_fresh_vhost(self) -> None:
        """Make an empty virtual host and point `amqp_url` at it: a clean broker in milliseconds."""
        self.vhost = f"v{secrets.token_hex(4)}"
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        headers = {"Authorization": aiohttp.encode_basic_auth(self.user, self.password)}
        async with aiohttp.ClientSession(self.management_url, headers=headers) as session:
            for path in (f"api/vhosts/{self.vhost}", f"api/permissions/{self.vhost}/{self.user}"):
                body = everything if "permissions" in path else {}
                async with session.put(path, json=body) as response:
                    response.raise_for_status()

    def _configure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        local = LOCAL.format(
            definitions=self.definitions,
            amqp=self.amqp_port,
            management=self.management_port,
        )
        # Where a key appears twice, RabbitMQ takes the second value.
        _write(self.folder / "rabbitmq.conf", (FILES / "rabbitmq.conf").read_text() + local)
        _write(self.folder / "plugins", "[rabbitmq_management].\n")
        _write(self.folder / "env.conf", "")
        _write(self.folder / "advanced.config", "[].\n")


def _environment(folder: Path, *, epmd_port: int, dist_port: int) -> dict[str, str]:
    """Return an environment that shares nothing with the system's own node."""
    return {
        "PATH": os.pathsep.join((*_beside_erl(), os.environ.get("PATH", ""), "/usr/bin", "/bin")),
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        # Makes the start script exec the node. Otherwise the script would stay as its parent, and
        # signals would reach the script instead of the node.
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "factorline@localhost",
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
        ),
    }


def _beside_erl() -> tuple[str, ...]:
    """Return the folders of Erlang's own programs outside PATH: epmd is often there."""
    return tuple(
        str(path.parent) for path in Path("/opt/homebrew/lib/erlang").glob("erts-*/bin/epmd")
    )


def _make_cookie(folder: Path) -> None:
    """Make the Erlang cookie of a node, unless its folder has one; it is kept with the node's data."""
    cookie = folder / ".erlang.cookie"
    if not cookie.exists():
        _write(cookie, secrets.token_hex(20))
        cookie.chmod(0o400)  # Erlang refuses any other mode


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
