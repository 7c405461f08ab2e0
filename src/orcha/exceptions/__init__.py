"""Everything that Orcha raises by itself.

::

    Exception
    └ OrchaError                    exit code 1
      ├ OrchaConnectionError       69   nobody listens; also a ConnectionRefusedError
      ├ EndpointInUseError         69   another service has that address and port
      ├ AuthenticationError        77   the key is not the service's
      ├ ConfigurationError         78   settings that contradict each other or the machine; also a ValueError
      ├ ManagerShutdownError       75   the service is stopping
      ├ RejectedError               1   messages were refused: `accepted`, `rejected`
      ├ ConditionFailed             1   not an error where a condition returns or raises it
      └ StoreError                      what is kept: see `orcha.exceptions.store`
    BaseException
    └ StaleCall                         ends a hook that was given up
"""

from __future__ import annotations

from orcha.exceptions.base import (
    AuthenticationError,
    ConditionFailed,
    ConfigurationError,
    EndpointInUseError,
    OrchaConnectionError,
    OrchaError,
    RejectedError,
    StaleCall,
)
from orcha.exceptions.shutdown import ManagerShutdownError

__all__ = [
    "AuthenticationError",
    "ConditionFailed",
    "ConfigurationError",
    "EndpointInUseError",
    "ManagerShutdownError",
    "OrchaConnectionError",
    "OrchaError",
    "RejectedError",
    "StaleCall",
]
