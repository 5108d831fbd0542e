"""The measures: one file each under its family's folder, registered by a decorator; nothing else is edited."""
