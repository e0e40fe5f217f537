"""`python -m fmcli` is `fm`."""

from fmcli.main import run

if __name__ == "__main__":  # the workers of `fm serve` import this file under another name
    run()
