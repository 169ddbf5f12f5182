"""``uvicorn autoprox.main:app``: the app with the settings of the environment."""

from autoprox.app import create_app

app = create_app()
