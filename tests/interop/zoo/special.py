"""What the general rules do not know: values by model type."""

VALUES = {}


def values(model_type, few):
    return dict(VALUES.get(model_type, {}))


def default(config_class):
    return config_class()
