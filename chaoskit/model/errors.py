"""The errors, by who must act. FAIL is a finding, not an error.

ChaosError
    ExperimentError     the author of the experiment file: exit 2
    UsageError          whoever typed the command: exit 2
    CouldNotRun         the environment (no route, no rights, target changed, cluster unreachable): INCONCLUSIVE, exit 3
        ClusterError        an answer of the API server that we did not expect; carries the status
        NotFound            the object is not there
        AnswerLost          a mutating request left and its answer never came: in doubt
    NotRestored         a human, now: exit 4, with the command to run
"""

from __future__ import annotations


class ChaosError(Exception):
    """Root of chaoskit's own errors; its text is one line for a person."""

    exit_code = 3


class ExperimentError(ChaosError):
    """The experiment file is not valid. `where` is file:line:col when it came from a file."""

    exit_code = 2

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.what = what
        self.where = where


class UsageError(ChaosError):
    """The command line does not say what is needed."""

    exit_code = 2


class CouldNotRun(ChaosError):
    """The run could not begin or go on; says what was expected and the ways out."""


class ClusterError(CouldNotRun):
    """The API server refused or failed. `status` is the HTTP status, `reason` the Status reason, 0 and "" when it could not be reached."""

    def __init__(self, what: str, status: int = 0, reason: str = "") -> None:
        super().__init__(what)
        self.status = status
        self.reason = reason


class NotFound(ClusterError):
    """The object does not exist."""

    def __init__(self, what: str) -> None:
        super().__init__(what, 404, "NotFound")


class AnswerLost(ClusterError):
    """A mutating request was sent and no answer came; whether it took effect must be read back."""


class NotRestored(ChaosError):
    """Something we changed could not be put back. Printed last and loudest."""

    exit_code = 4
