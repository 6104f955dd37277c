"""SQL functions, in the order in which they are made; those of triggers are in `guards`.

One constant each, with its comment. `crosslabel db upgrade` makes them anew when they change
(`catalog.store.derived`), before the views, with bodies that are not checked until they run: a
body may use any view.
"""

from __future__ import annotations

from catalog.store.comparison_functions import COMPARISON_FUNCTIONS
from catalog.store.sky_functions import SKY_FUNCTIONS
from catalog.store.sql_function import Function

LABEL_SET_ID_OF = Function(
    "label_set_id_of",
    "text",
    """
CREATE OR REPLACE FUNCTION label_set_id_of(label_set_name text) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found bigint;
BEGIN
    SELECT label_set_id INTO found FROM label_set
    WHERE status = 'complete' AND name = split_part(label_set_name, '@', 1)
      AND (position('@' IN label_set_name) = 0
           OR edition::text = substr(label_set_name, position('@' IN label_set_name) + 1))
    ORDER BY edition DESC LIMIT 1;
    IF found IS NULL THEN
        RAISE EXCEPTION 'no complete label set %', label_set_name
            USING HINT = 'crosslabel label list shows those that exist';
    END IF;
    RETURN found;
END $$
""",
    "The id of the label set 'name' (its newest complete edition) or 'name@edition'; all functions "
    "that take label sets accept both",
)

SAMPLE_ID_OF = Function(
    "sample_id_of",
    "text",
    """
CREATE OR REPLACE FUNCTION sample_id_of(sample_name text) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found bigint;
BEGIN
    SELECT sample_id INTO found FROM sample WHERE name = sample_name;
    IF found IS NULL AND sample_name IS NOT NULL THEN
        RAISE EXCEPTION 'no sample %', sample_name
            USING HINT = 'crosslabel sample list shows those that exist';
    END IF;
    RETURN found;
END $$
""",
    "The id of a sample by its name",
)

FUNCTIONS = (LABEL_SET_ID_OF, SAMPLE_ID_OF, *COMPARISON_FUNCTIONS, *SKY_FUNCTIONS)
