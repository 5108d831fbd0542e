"""``python -m measurebench`` and the ``measurebench`` command."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status."""
    from measurebench.cli.app import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
