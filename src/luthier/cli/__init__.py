"""The command line door."""

from __future__ import annotations


def main() -> None:
    """``luthier``: runs a command; an error is one sentence and a remedy, exit code 1 (2 for a wrong call, 130 for Ctrl-C)."""
    import sys

    from luthier.cli.commands import app
    from luthier.core.errors import LuthierError

    try:
        app()
    except LuthierError as error:
        from luthier.cli.show import error_panel

        error_panel(error)
        sys.exit(1)
    except SystemExit as ended:  # typer turns Ctrl-C into exit code 130 without a word
        if ended.code == 130 and type(ended) is SystemExit:
            print("stopped; start the same command again: it goes on where it was", file=sys.stderr)
        raise
