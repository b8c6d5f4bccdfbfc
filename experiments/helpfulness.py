from experiments import base


def get_config():
    config = base.get_config()
    return config
