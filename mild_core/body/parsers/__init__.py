"""Parsers: third-party models that label the parts of one person's body. Each needs a package that is not installed by
default.

A parser imports its package inside the function that uses it, takes the file of its weights as a path, downloads
nothing, and gives a `Parsed` for each person.
"""
