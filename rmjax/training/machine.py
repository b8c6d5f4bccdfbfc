"""What a command sets up before it computes anything."""

from rmjax.config import ExperimentConfig, validate
from rmjax.training.compilation_cache import use_compilation_cache
from rmjax.training.processors import use_processors


def use_machine(config: ExperimentConfig | None = None, *, processes: int = 1) -> None:
    """Compiled programs are kept, and all processors are used.

    The arguments are those of ``use_processors``; a config that can't be right is a ConfigError.
    """
    if config is not None:
        validate(config)
    use_compilation_cache()
    use_processors(config, processes=processes)
