"""The switches that lossgap shares with MLflow's own autologging.

MLflow's utilities for integrations are used for the settings alone. Its patches aren't:
after a failure of one, the session that they share leaves everyone out.
"""

from typing import Final

from mlflow.utils import autologging_utils

INTEGRATION: Final = "lossgap"


@autologging_utils.autologging_integration(INTEGRATION)
def configure(*, disable: bool = False, silent: bool = False, exclusive: bool = False) -> None:
    """Make the integration known to MLflow, with its settings."""


def is_disabled() -> bool:
    """Tell whether the user switched us off, or all of MLflow's autologging."""
    return bool(
        autologging_utils.autologging_is_disabled(INTEGRATION)
        or autologging_utils.get_autologging_config("mlflow", "disable", default_value=False)
    )
