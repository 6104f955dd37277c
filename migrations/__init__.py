"""Migrations of the tables, constraints and indexes, run by ``crosslabel db upgrade``.

Views, functions, triggers and comments are made from the code (`catalog.store.derived`).
"""
