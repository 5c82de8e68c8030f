"""A Ray of two cores on the loopback address, for all tests of a process."""

import logging
import os
from pathlib import Path

import pytest

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
# Ray has the loopback address alone where it thinks that it can't be a cluster.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


@pytest.fixture(scope="session")
def ray_data():
    import ray
    import ray.data

    here = Path(__file__).parent
    path = [str(here), str(here.parent), os.environ.get("PYTHONPATH")]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))  # for the workers
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=256 * 2**20,
        )
        assert ray.util.get_node_ip_address() == "127.0.0.1"
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray.data
        ray.shutdown()
