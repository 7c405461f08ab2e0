"""Configuration in TOML: what may stand in the files, how they are read, and what holds of several of them.

No I/O but in `files`. Everything that is wrong with a file is told at once, with line, column and cure.
"""
