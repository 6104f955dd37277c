"""What ``crosslabel db upgrade`` runs: tables, constraints and indexes only.

Views, functions, triggers and comments are made from the code (`catalog.store.derived`).
"""

#: The revisions, oldest first; the last is the one that this installation needs.
REVISIONS = ("2026_12_01_tables",)
