"""The history of the schema. Revisions hold frozen copies and never import live tables."""
