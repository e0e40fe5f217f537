"""`python -m fmcli` is `fm`."""
from fmcli.main import run

run()
