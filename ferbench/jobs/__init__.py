"""Jobs: what a command does, orchestrated from parts. Each is a function that a Python user calls too."""
