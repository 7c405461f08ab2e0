"""The settings that variables and options may override; and which settings a running service changes at a reload."""

from __future__ import annotations

from typing import NamedTuple


class KnownSetting(NamedTuple):
    """A setting of the tables `service`, `listen`, `tls`, `retention` and `audit`."""

    key: str
    variable: str | None = None
    """The variable of the environment that counts more than the files."""
    option: str | None = None
    """The option that counts more than the environment."""
    attribute: str | None = None
    """Its name among the settings of a service (`Settings`); None where it is none of them."""
    at_run_time: bool = False
    """Whether `orcha reload` changes it; else the service has to be started again."""

    @property
    def keys(self) -> tuple[str, str]:
        """The table and the name."""
        table, _, name = self.key.partition(".")
        return table, name


KNOWN = (
    KnownSetting("service.plugins", None, "serve PLUGIN"),
    KnownSetting("service.commands", "ORCHA_COMMANDS", None, None, at_run_time=True),
    KnownSetting("service.new_groups", "ORCHA_NEW_GROUPS", "--new-groups", None, at_run_time=True),
    KnownSetting("service.fair", "ORCHA_FAIR", "--fair", "past_half_life", at_run_time=True),
    KnownSetting("service.detect", "ORCHA_DETECT", "--detect", "detect"),
    KnownSetting("service.store", "ORCHA_STORE", "--no-store"),
    KnownSetting("service.hook_deadline", "ORCHA_HOOK_DEADLINE", None, "hook_deadline", at_run_time=True),
    KnownSetting("service.stop_grace", "ORCHA_STOP_GRACE", None, "stop_grace", at_run_time=True),
    KnownSetting("service.abandon_after", "ORCHA_ABANDON_AFTER", None, "abandon_after", at_run_time=True),
    KnownSetting("service.shim_silence", "ORCHA_SHIM_SILENCE", None, "shim_silence"),
    KnownSetting("service.keep_commands", "ORCHA_KEEP_COMMANDS", None, "keep_commands", at_run_time=True),
    KnownSetting("service.keep_input", "ORCHA_KEEP_INPUT", None, "keep_input", at_run_time=True),
    KnownSetting("service.log", "ORCHA_LOG", "--log"),
    KnownSetting("service.log_runs", "ORCHA_LOG_RUNS", None, "log_runs", at_run_time=True),
    KnownSetting("listen.address", "ORCHA_LISTEN_ADDRESS", "--listen-address"),
    KnownSetting("listen.port", "ORCHA_PORT", "--port"),
    KnownSetting("listen.share", "ORCHA_SHARE", "--share", "share"),
    KnownSetting("listen.reached_as", "ORCHA_REACHED_AS", None, "reached_as"),
    KnownSetting("listen.allow_weak_key", None, "--allow-weak-key", "allow_weak_key"),
    KnownSetting("tls.certificate", "ORCHA_TLS_CERT", "--tls-cert", "tls_certificate", at_run_time=True),
    KnownSetting("tls.key", "ORCHA_TLS_KEY", "--tls-key", "tls_key", at_run_time=True),
    KnownSetting("tls.client_ca", "ORCHA_TLS_CLIENT_CA", "--tls-client-ca", "tls_client_ca", at_run_time=True),
    KnownSetting("retention.age", "ORCHA_KEEP_AGE", None, "keep_age", at_run_time=True),
    KnownSetting("retention.count", "ORCHA_KEEP_COUNT", None, "keep_count", at_run_time=True),
    KnownSetting("retention.bytes", "ORCHA_KEEP_BYTES", None, "keep_bytes", at_run_time=True),
    KnownSetting("retention.least", "ORCHA_KEEP_LEAST", None, "keep_least", at_run_time=True),
    KnownSetting("audit.keep", "ORCHA_AUDIT_KEEP", None, "audit_keep", at_run_time=True),
    KnownSetting("audit.count", "ORCHA_AUDIT_COUNT", None, "audit_count", at_run_time=True),
)
"""The settings in the order in which `orcha config show` prints them; docs/configuration.md has the same table."""

__all__ = ["KNOWN", "KnownSetting"]
