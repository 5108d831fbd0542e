"""``python -m measurebench`` and the ``measurebench`` command."""

import gc
import os
import signal
import sys

__all__ = ["leave_at_once", "main"]


def leave_at_once(*_: object) -> None:
    """End the process: Ctrl-C while modules are imported, when there is nothing to clean up.

    Raising KeyboardInterrupt there would not do: what is being imported may turn it into an error of its own.
    """
    os.write(2, b"measurebench: Interrupted.\n")
    os._exit(130)


def main() -> None:
    """Run the command line and exit with its status."""
    # Where the signal is ignored (nohup), it stays so.
    mine = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if mine:
            signal.signal(signal.SIGINT, leave_at_once)
        from measurebench.cli.app import run_command_line

        status = run_command_line(sys.argv[1:])
        if "torch" not in sys.modules:
            # Python looks through all objects for unreachable ones as it ends, for a third of a second after an
            # analysis. Not beside torch: Triton reports what is not collected then as leaked.
            gc.freeze()
        if mine:
            signal.signal(signal.SIGINT, leave_at_once)
    except KeyboardInterrupt:
        leave_at_once()
    sys.exit(status)


if __name__ == "__main__":
    main()
