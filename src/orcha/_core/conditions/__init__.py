"""Conditions in text: what people write after `--when`, read, explained, and answered.

A text is scanned (`scanning.py`), read by Python's own `ast` (`parsing.py`) into a tree of a few kinds of nodes
(`nodes.py`), and answered by walking the tree over values that others have looked up. Nothing of a text is executed.
"""
