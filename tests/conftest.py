"""Four virtual CPU devices, quick compilation, and shape types checked at run time, in tests only.

The time of tests is that of compiling small programs, each of which runs a few times. So XLA compiles without LLVM's
optimizations and with its older, simpler emitters, which takes a sixth of the time for the same programs. Flags in
XLA_FLAGS win over these. Commands that tests start get them through the environment.
"""

import os

os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false " + os.environ.get("XLA_FLAGS", "")
)
os.environ["JAX_PLATFORMS"] = "cpu"

from jaxtyping import install_import_hook

install_import_hook("rmjax", "beartype.beartype")
