"""Settings for configurations whose defaults build no model."""

SETTINGS = {}
