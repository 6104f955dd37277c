"""SQL functions that find sources by position: HEALPix ranges, cones, nearest neighbours.

Ranges of ``source.healpix29`` choose the rows by the index (survey, healpix29), and the great
circle decides. Nothing treats the poles or right ascension 0/360 apart.
"""

from __future__ import annotations

from catalog.sky.healpix import CELL_WIDTH, MAX_ORDER
from catalog.store.sql_function import Function

#: Upper limit of the distance from the centre of a cell to its corners, times 2**order [rad]: 0.841
#: at order 0, growing towards 1.069 (`max_pixrad` of healpix_cxx: beside the pole, along the edge
#: of a base cell).
CELL_RADIUS = 1.07
#: The rounding of a right ascension in float64 [arcsec]: what lies on the rim is inside.
ROUNDING = 1e-9
#: Angles below this are 0 [deg]: PostgreSQL refuses products that underflow.
TINY = 1e-100

# From the twelve base cells down, four children each: a child is kept if its centre lies within
# radius + CELL_RADIUS / 2**order. Centres after Gorski et al. 2005, ApJ 622, 759: (x, y) is the
# place in the base cell, x to the north-east, y to the north-west; the ring counts from the north.
HEALPIX_RANGES = Function(
    "healpix_ranges",
    "double precision, double precision, double precision",
    f"""
CREATE OR REPLACE FUNCTION healpix_ranges(
    centre_ra double precision, centre_dec double precision, within_arcsec double precision)
RETURNS TABLE (first_cell bigint, last_cell bigint, ra double precision, "dec" double precision,
               radius_arcsec double precision)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 20 AS $$
DECLARE
    radius double precision; finest integer;
    x0 double precision; y0 double precision; z0 double precision;
BEGIN
    IF NOT (abs(centre_dec) <= 90 AND abs(centre_ra) < 'infinity') OR centre_ra IS NULL
       OR centre_dec IS NULL THEN
        RAISE EXCEPTION 'ra %, dec % is not a position', centre_ra, centre_dec
            USING HINT = 'both in degrees, dec from -90 to 90';
    ELSIF within_arcsec IS NULL OR NOT within_arcsec BETWEEN 0 AND 648000 THEN
        RAISE EXCEPTION '% is not a radius', within_arcsec
            USING HINT = 'in arcseconds, from 0 to 648000';
    END IF;
    ra := CASE WHEN abs(centre_ra) < {TINY} THEN 0 ELSE centre_ra END;
    "dec" := CASE WHEN abs(centre_dec) < {TINY} THEN 0 ELSE centre_dec END;
    radius_arcsec := within_arcsec;
    radius := radians(greatest(within_arcsec, 1e-3) / 3600);
    finest := greatest(0, least({MAX_ORDER}, 1 + floor(ln({CELL_WIDTH} / radius) / ln(2))));
    x0 := cosd("dec") * cosd(ra);
    y0 := cosd("dec") * sind(ra);
    z0 := sind("dec");
    RETURN QUERY
    WITH RECURSIVE kept (depth, face, x, y, cell) AS (
        SELECT 0, face, 0::bigint, 0::bigint, face::bigint FROM generate_series(0, 11) AS f (face)
        UNION ALL
        SELECT p.depth + 1, p.face, c.x, c.y, 4 * p.cell + q.a + 2 * q.b
        FROM kept p
        CROSS JOIN (VALUES (0, 0), (1, 0), (0, 1), (1, 1)) AS q (a, b)
        CROSS JOIN LATERAL (
            SELECT 2 * p.x + q.a AS x, 2 * p.y + q.b AS y, 2::bigint << p.depth AS n) c
        CROSS JOIN LATERAL (SELECT (2 + p.face / 4) * c.n - c.x - c.y - 1 AS ring) r
        CROSS JOIN LATERAL (SELECT least(r.ring, c.n, 4 * c.n - r.ring) AS in_ring) i
        CROSS JOIN LATERAL (
            SELECT CASE WHEN i.in_ring = c.n
                        THEN 2 * (2 * c.n - r.ring) / (3 * c.n)::double precision
                        ELSE sign(2 * c.n - r.ring)
                             * (1 - (i.in_ring / c.n::double precision) ^ 2 / 3) END AS z,
                   pi() / 4 * (2 * (p.face % 4) + abs(sign(p.face / 4 - 1))
                               + (c.x - c.y) / i.in_ring::double precision) AS phi) v
        CROSS JOIN LATERAL (SELECT sqrt((1 - v.z) * (1 + v.z)) AS s) w
        WHERE p.depth < finest
          AND (w.s * cos(v.phi) - x0) ^ 2 + (w.s * sin(v.phi) - y0) ^ 2 + (v.z - z0) ^ 2
              <= 4 * sin(least(radius * 1.000001 + {CELL_RADIUS} / c.n, pi()) / 2) ^ 2
    )
    SELECT k.cell << 2 * ({MAX_ORDER} - finest),
           ((k.cell + 1) << 2 * ({MAX_ORDER} - finest)) - 1, ra, "dec", radius_arcsec
    FROM kept k WHERE k.depth = finest ORDER BY k.cell;
END $$
""",
    "Ranges of healpix29, ends included, that hold all within a radius of a position [deg], and "
    "both again as they are used",
)

# OFFSET 0 keeps the planner from another plan than ranges first (which checks the arguments, also
# in an empty catalog), then one index scan per range and survey; surveys are found by stepping
# through the index. What the ranges return is used in place of the arguments, which would be folded
# into the plan unchecked.
CONE = Function(
    "cone",
    "double precision, double precision, double precision, text",
    f"""
CREATE OR REPLACE FUNCTION cone(
    centre_ra double precision, centre_dec double precision, radius_arcsec double precision,
    only_survey text DEFAULT NULL)
RETURNS TABLE (distance_arcsec double precision, survey text, survey_key text, star_key text,
               ra double precision, "dec" double precision, source_id bigint, star_id bigint)
LANGUAGE sql STABLE ROWS 100 AS $$
WITH RECURSIVE known (survey) AS (
    (SELECT s.survey FROM source s ORDER BY s.survey LIMIT 1)
    UNION ALL
    SELECT (SELECT s.survey FROM source s WHERE s.survey > k.survey ORDER BY s.survey LIMIT 1)
    FROM known k WHERE k.survey IS NOT NULL
)
SELECT d.distance_arcsec, s.survey, s.survey_key, t.star_key, s.ra, s.dec, s.source_id, s.star_id
FROM healpix_ranges(centre_ra, centre_dec, radius_arcsec) r
CROSS JOIN LATERAL (SELECT * FROM known WHERE r.last_cell >= 0 OFFSET 0) k
CROSS JOIN LATERAL (
    SELECT * FROM source x
    WHERE x.survey = k.survey AND x.healpix29 BETWEEN r.first_cell AND r.last_cell
    OFFSET 0
) s
CROSS JOIN LATERAL (
    SELECT CASE WHEN abs(s.ra - r.ra) < {TINY} THEN 0 ELSE s.ra - r.ra END AS east,
           CASE WHEN abs(s.dec - r.dec) < {TINY} THEN 0 ELSE s.dec - r.dec END AS north
) o
CROSS JOIN LATERAL (
    -- the haversines are precise for small distances, the arc tangent for large ones too
    SELECT sind(o.north / 2) ^ 2 + cosd(s.dec) * cosd(r.dec) * sind(o.east / 2) ^ 2 AS h
) v
CROSS JOIN LATERAL (
    SELECT 7200 * atan2d(sqrt(least(v.h, 1)), sqrt(greatest(1 - v.h, 0))) AS distance_arcsec
) d
LEFT JOIN star t ON t.star_id = s.star_id
WHERE (only_survey IS NULL OR k.survey = only_survey)
  AND d.distance_arcsec <= r.radius_arcsec + {ROUNDING!r}
$$
""",
    "Sources within a radius of a position [deg], ends included, of all surveys or of one; by the "
    "index, at any place of the sky",
)

NEAREST = Function(
    "nearest",
    "double precision, double precision, integer, double precision, text",
    """
CREATE OR REPLACE FUNCTION nearest(
    centre_ra double precision, centre_dec double precision, n integer DEFAULT 1,
    within_arcsec double precision DEFAULT 648000, only_survey text DEFAULT NULL)
RETURNS TABLE (distance_arcsec double precision, survey text, survey_key text, star_key text,
               ra double precision, "dec" double precision, source_id bigint, star_id bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    farthest double precision := coalesce(within_arcsec, 648000);
    reach double precision := least(1, farthest);
BEGIN
    IF n IS NULL OR n < 1 THEN
        RAISE EXCEPTION '% is not a number of sources', n USING HINT = 'from 1';
    END IF;
    -- a cone that holds n sources holds the n nearest
    WHILE reach < farthest AND n > (
        SELECT count(*) FROM (
            SELECT FROM cone(centre_ra, centre_dec, reach, only_survey) LIMIT n) found)
    LOOP
        reach := least(4 * reach, farthest);
    END LOOP;
    RETURN QUERY SELECT c.* FROM cone(centre_ra, centre_dec, reach, only_survey) c
                 ORDER BY c.distance_arcsec, c.survey, c.survey_key LIMIT n;
END $$
""",
    "The n sources nearest to a position [deg], of all surveys or of one, within a radius if one "
    "is given",
)

SKY_FUNCTIONS = (HEALPIX_RANGES, CONE, NEAREST)
