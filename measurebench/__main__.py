"""``python -m measurebench`` and the ``measurebench`` command."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        from measurebench.cli.app import run_command_line

        status = run_command_line(sys.argv[1:])
    except KeyboardInterrupt:  # before the command began: while its modules were imported
        sys.stderr.write("measurebench: Interrupted.\n")
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
