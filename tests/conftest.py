"""Four virtual CPU devices, quick compilation, and shape types checked at run time, in tests only.

The time of tests is that of compiling small programs, each of which runs a few times. So XLA compiles without LLVM's
optimizations and, where it still has them (jax before 0.11), with its older, simpler emitters, which takes a sixth of
the time for the same programs. Flags in XLA_FLAGS win over these. Commands that tests start get them through the
environment, and leave the user's compilation cache alone.
"""

import importlib.metadata
import os

JAXLIB = tuple(int(part) for part in importlib.metadata.version("jaxlib").split(".")[:2])
FLAGS = [
    "--xla_force_host_platform_device_count=4",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    *(["--xla_cpu_use_fusion_emitters=false"] if JAXLIB < (0, 11) else []),  # XLA ends the process at unknown flags
]
os.environ["XLA_FLAGS"] = " ".join([*FLAGS, os.environ.get("XLA_FLAGS", "")])
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

from jaxtyping import install_import_hook  # noqa: E402 jaxtyping may import jax, which reads the flags once

install_import_hook("rmjax", "beartype.beartype")
