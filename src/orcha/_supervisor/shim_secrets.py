"""The secrets of a shim's attempt: put into files when it starts, removed when it is over."""

from __future__ import annotations

from orcha._supervisor import secret_files
from orcha._supervisor.spawn import NotExecutedError
from orcha.utils import core_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.contract import CommandSpec
    from orcha._supervisor.login import Login


class ShimSecrets:
    """Has the files of one attempt."""

    def __init__(self, folder: str, shim: str) -> None:
        """Have none; `folder` is the endpoint's."""
        self._folder = folder
        self._shim = shim
        self.were_there = False
        """Whether the attempt had secrets: then the shim runs no other, since they may be in its memory still."""

    def put(self, spec: CommandSpec, login: Login | None) -> CommandSpec:
        """Write the secrets into files; give the specification that says where, without the secrets.

        The files belong to the user of `login`, where there is one. Raises NotExecutedError.
        """
        self.were_there = True
        try:
            account = None if login is None else (login.uid, login.gid)
            variables = secret_files.write(self._folder, self._shim, spec.secrets or {}, account)
        except OSError as error:
            why = error.strerror or str(error)
            raise NotExecutedError(125, f"cannot put its secrets into memory: {why}") from error
        return spec._replace(env={**spec.env, **variables}, secrets=None)

    def guard(self) -> None:
        """Have the shim write no core file, in which they would be; its command has started, and has its own limit."""
        if self.were_there:
            core_files.write_none()

    def remove(self) -> None:
        """Remove the files."""
        if self.were_there:
            secret_files.remove(self._folder, self._shim)


__all__ = ["ShimSecrets"]
