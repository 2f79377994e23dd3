"""Several devices on one host, for the tests of sharding; set before anything imports jax."""

import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
