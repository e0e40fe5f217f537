"""The `fm` command: options, progress and exit codes over the library."""
