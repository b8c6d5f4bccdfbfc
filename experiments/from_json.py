"""An earlier run again: ``--config=experiments/from_json.py:runs/helpfulness/config.json``; overrides work on top."""

from etils import epath

from rmjax.config import ConfigError, ExperimentConfig, from_json


def get_config(path: str = "") -> ExperimentConfig:
    """The config that a run wrote into its workdir."""
    file = epath.Path(path)
    if not path or not file.is_file():
        raise ConfigError(f"{path!r} is no file; right would be --config=experiments/from_json.py:WORKDIR/config.json")
    try:
        return from_json(file.read_text())
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read as a config: {error}") from error
