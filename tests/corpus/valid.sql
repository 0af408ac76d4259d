-- Statements of Spark, one a line; an indented line goes on with the one before.
-- The words of statements about models are names here: of columns, tables, aliases, functions.

-- Queries
SELECT 1
SELECT 1;
SELECT model FROM t
SELECT model, models FROM t
SELECT t.model FROM t
SELECT model AS models FROM t
SELECT a model FROM t
SELECT a AS model FROM t model
SELECT model.a FROM t AS model
SELECT model.* FROM t AS model
SELECT `model` FROM `t`
SELECT * FROM t WHERE model = 'x'
SELECT * FROM t WHERE model LIKE 'c%' AND a > 1
SELECT * FROM t WHERE model ILIKE 'C%'
SELECT * FROM t WHERE model RLIKE '^c.*$'
SELECT * FROM t WHERE model LIKE 'a!%' ESCAPE '!'
SELECT * FROM t WHERE a IN (1, 2, 3)
SELECT * FROM t WHERE a NOT IN (1, 2) OR b IS NOT NULL
SELECT * FROM t WHERE a BETWEEN 1 AND 3
SELECT * FROM t WHERE a IS DISTINCT FROM b
SELECT * FROM t WHERE a <=> b
SELECT DISTINCT model FROM t
SELECT ALL model FROM t
SELECT count(*) FROM t GROUP BY model
SELECT model, count(*) AS n FROM t GROUP BY model HAVING count(*) > 1
SELECT model, sum(a) FROM t GROUP BY ALL
SELECT model, sum(a) FROM t GROUP BY 1 ORDER BY 2 DESC NULLS LAST
SELECT model, a, sum(b) FROM t GROUP BY model, a WITH ROLLUP
SELECT model, a, sum(b) FROM t GROUP BY CUBE (model, a)
SELECT model, a, sum(b) FROM t GROUP BY GROUPING SETS ((model, a), (model), ())
SELECT count(*) FILTER (WHERE a > 1) FROM t
SELECT a FROM t ORDER BY a LIMIT 3 OFFSET 1
SELECT a FROM t ORDER BY model ASC, a DESC
SELECT a FROM t SORT BY a
SELECT a FROM t DISTRIBUTE BY model SORT BY a
SELECT a FROM t CLUSTER BY a
SELECT a FROM t LIMIT ALL
SELECT a, CASE WHEN a > 1 THEN 'x' ELSE 'y' END FROM t
SELECT CASE model WHEN 'a' THEN 1 WHEN 'b' THEN 2 END FROM t
SELECT CAST(a AS STRING), a::double, TRY_CAST(model AS INT) FROM t
SELECT a + b * 2 - 1 / 3, a % 2, -a, a | b, a & b, a ^ b, ~a FROM t
SELECT a << 1, a >> 1, a >>> 1 FROM t
SELECT model || '_x' FROM t
SELECT 'it''s', "double", 'a\tb', r'raw\d' , 'one' 'two'
SELECT X'1F', DATE '2024-01-01', TIMESTAMP '2024-01-01 00:00:00', INTERVAL 3 DAYS
SELECT INTERVAL '1-2' YEAR TO MONTH, INTERVAL '1 02:03:04' DAY TO SECOND
SELECT 1L, 2S, 3Y, 4.0, 5.0D, 6.0BD, 7E2, .5, 1e-3, 2F
SELECT array(1, 2)[0], map('k', 1)['k'], struct(1 AS x).x, named_struct('m', 1).m
SELECT transform(array(1, 2), x -> x + 1), aggregate(array(1, 2), 0, (x, y) -> x + y)
SELECT if(a > 1, a, b), coalesce(a, b), nullif(a, b) FROM t
SELECT extract(YEAR FROM DATE '2024-01-01'), substring('model' FROM 2 FOR 3), trim(BOTH 'x' FROM 'xax')
SELECT position('o' IN 'model'), overlay('model' PLACING 'x' FROM 1)
SELECT current_date, current_timestamp(), current_user()
SELECT first(a), last(a IGNORE NULLS), any_value(a) FROM t
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM t
SELECT listagg(model, ',') WITHIN GROUP (ORDER BY model DESC) FROM t
SELECT count(DISTINCT model, a) FROM t
SELECT /* a comment */ 1 -- and another
SELECT /*+ BROADCAST(model) */ * FROM t AS model JOIN s ON model.a = s.a
SELECT /*+ COALESCE(1), REPARTITION(2, a) */ a FROM t
SELECT 'CREATE MODEL m LOCATION ''x''' AS model
SELECT * EXCEPT (a) FROM t
SELECT lower(model) register, upper(model) AS unregister FROM t
SELECT register FROM (SELECT 1 AS register)
SELECT describe FROM (SELECT 1 AS describe)
SELECT location, options, `using`, input, output, `returns`, refresh, scale, force FROM (SELECT 1 location, 2 options, 3 `using`, 4 input, 5 output, 6 `returns`, 7 refresh, 8 scale, 9 force)
SELECT ml_predict FROM (SELECT 1 AS ml_predict)
SELECT ml_predict.model FROM (SELECT 'x' AS model) AS ml_predict
SELECT ml_predict.model, a FROM t AS ml_predict(a, b, model)
SELECT upper(model) AS ml_predict, (model), (a) FROM t
SELECT model IN ('a', 'b'), (model, a) = ('a', 1) FROM t
SELECT * FROM t TABLESAMPLE (10 PERCENT) REPEATABLE (7)
SELECT * FROM t TABLESAMPLE (5 ROWS) AS model
SELECT * FROM t TABLESAMPLE (BUCKET 1 OUT OF 2) REPEATABLE (7)
SELECT 1 AS a FROM t WHERE EXISTS (SELECT 1 FROM s WHERE s.a = t.a)
SELECT (SELECT max(a) FROM s) AS model FROM t
SELECT * FROM t WHERE a IN (SELECT a FROM s)
SELECT * FROM (SELECT a AS model FROM t) AS model
SELECT * FROM VALUES (1, 'a'), (2, 'b') AS model(id, name)
VALUES (1, 'model'), (2, 'models')
TABLE t
FROM t SELECT a
FROM t SELECT model WHERE a > 1
FROM t INSERT INTO u1 SELECT a INSERT INTO u2 SELECT b

-- What looks wrong, and is not
SELECT FROM
SELECT * FROM t WHERE
SELECT * FROM t LIMIT
SELECT model. FROM t
SELECT sum(a) OVER (PARTITION) FROM t
SELECT 1 UNION
WITH model (SELECT 1) SELECT * FROM model
FROM t
DESCRIBE model AS
DESCRIBE EXTENDED
SELECT MODEL m, a FROM t WHERE

-- Joins
SELECT * FROM t JOIN s ON t.a = s.a
SELECT * FROM t LEFT OUTER JOIN s USING (a)
SELECT * FROM t RIGHT JOIN s ON t.a = s.a FULL OUTER JOIN t AS model ON model.a = s.a
SELECT * FROM t CROSS JOIN s
SELECT * FROM t LEFT SEMI JOIN s ON t.a = s.a
SELECT * FROM t LEFT ANTI JOIN s ON t.a = s.a
SELECT * FROM t NATURAL JOIN s
SELECT t.a FROM t, s model WHERE t.a = model.a
SELECT * FROM t, LATERAL (SELECT s.c FROM s WHERE s.a = t.a) AS model
SELECT * FROM t LEFT JOIN LATERAL (SELECT s.c FROM s WHERE s.a = t.a) AS l ON true

-- Common tables
WITH model AS (SELECT 1 AS a) SELECT * FROM model
WITH model(x, y) AS (SELECT 1, 2), models AS (SELECT x FROM model) SELECT * FROM models
WITH ml_predict (model) AS (SELECT 1) SELECT model FROM ml_predict
WITH a AS (WITH model AS (SELECT 1 AS x) SELECT * FROM model) SELECT * FROM a
WITH RECURSIVE model(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM model WHERE n < 3) SELECT n FROM model

-- Set operations
SELECT a FROM t UNION SELECT a FROM s
SELECT a FROM t UNION ALL SELECT a FROM s ORDER BY a LIMIT 2
SELECT a FROM t INTERSECT SELECT a FROM s
SELECT a FROM t EXCEPT ALL SELECT a FROM s
SELECT a FROM t MINUS SELECT a FROM s
(SELECT a FROM t) UNION ALL (SELECT a FROM s)

-- Windows
SELECT row_number() OVER (PARTITION BY model ORDER BY a) AS model FROM t
SELECT sum(a) OVER w FROM t WINDOW w AS (PARTITION BY model ORDER BY a ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
SELECT lag(a, 1, 0) OVER (ORDER BY a), lead(a) IGNORE NULLS OVER (ORDER BY a) FROM t
SELECT sum(a) OVER (ORDER BY a RANGE BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING) FROM t
SELECT window(ts, '1 hour'), count(*) FROM events GROUP BY window(ts, '1 hour')
SELECT a FROM t QUALIFY row_number() OVER (PARTITION BY model ORDER BY a) = 1

-- Lateral views, pivots, functions with tables
SELECT * FROM t LATERAL VIEW explode(array(1, 2)) model AS x
SELECT * FROM t LATERAL VIEW OUTER posexplode(array(1, 2)) e AS p, model
SELECT explode(array(1, 2)) AS model
SELECT inline(array(struct(1, 'a'))) AS (a, model)
SELECT * FROM t PIVOT (sum(a) AS s FOR model IN ('x' AS model, 'y'))
SELECT * FROM (SELECT model, a, b FROM t) PIVOT (max(a), min(a) FOR (model) IN ('x', 'y'))
SELECT * FROM t UNPIVOT (v FOR n IN (a, b))
SELECT * FROM t UNPIVOT INCLUDE NULLS ((v) FOR model_name IN ((a) AS x, (b) AS y))
SELECT * FROM range(10)
SELECT * FROM range(1, 10, 2) AS model(id)
SELECT * FROM explode(array(1, 2)) AS model(x)
SELECT * FROM stack(2, 1, 'a', 2, 'b')
SELECT * FROM my_tvf(TABLE(t) PARTITION BY model ORDER BY a)
SELECT * FROM my_tvf(TABLE(SELECT * FROM t), key => 'v')
SELECT * FROM IDENTIFIER('t')
SELECT mask('AbC', upperChar => 'X')
SELECT TRANSFORM(a, model) USING 'cat' AS (a STRING, model STRING) FROM t

-- Calls of functions that have the names of ours
SELECT ml_predict(model, a) FROM t
SELECT ml_predict(a, model) FROM t
SELECT ml_predict('churn', a, b) FROM t
SELECT ml_predict('churn', a, params => map('k', 3)) FROM t
SELECT ml_predict(model => 'churn', a) FROM t
SELECT ml_predict((model), model.a, model[0], model IS NULL) FROM t
SELECT ml_predict(model LIKE 'x', model || 'y', model::int) FROM t
SELECT model(a, b) FROM t
SELECT models(1), register(2), describe(3)
SELECT db.model(a), model.model(b) FROM t
SELECT * FROM ml_predict(TABLE(t), 'churn')
SELECT * FROM ml_predict(TABLE(t) PARTITION BY a ORDER BY (a, model DESC), 'churn')

-- Time travel
SELECT * FROM model VERSION AS OF 3
SELECT * FROM model TIMESTAMP AS OF '2024-01-01'
SELECT * FROM db.model FOR VERSION AS OF 'v1'
SELECT * FROM model FOR SYSTEM_TIME AS OF '2024-01-01' AS m

-- Pipes
FROM t |> SELECT a, model
FROM t |> WHERE a > 1 |> SELECT model
FROM t |> EXTEND a + 1 AS model |> SET a = 2 |> DROP b
FROM t |> AGGREGATE sum(a) AS total GROUP BY model
FROM t |> JOIN s USING (a) |> ORDER BY a |> LIMIT 2
FROM t |> AS model |> SELECT model.a
TABLE t |> SELECT DISTINCT model
SELECT 1 AS model |> UNION ALL SELECT 2
FROM t |> PIVOT (sum(a) FOR model IN ('x', 'y'))
FROM t |> TABLESAMPLE (1 ROWS)

-- Tables
CREATE TABLE model (a INT, model STRING) USING parquet
CREATE TABLE models USING parquet AS SELECT 1 AS model
CREATE TABLE IF NOT EXISTS model (model INT NOT NULL COMMENT 'a model') USING parquet
CREATE TABLE db.model (id BIGINT, m STRUCT<model: STRING, v: INT>) USING orc PARTITIONED BY (id)
CREATE TABLE ml_predict (model INT, a STRING) USING parquet
CREATE TABLE IF NOT EXISTS db.ml_predict (model STRING, location STRING) USING parquet
CREATE TABLE register (model INT) USING json OPTIONS (path '/tmp/x', header true) COMMENT 'c' TBLPROPERTIES ('k' = 'v')
CREATE TABLE t2 (a INT, b STRING) USING parquet CLUSTERED BY (a) SORTED BY (b) INTO 4 BUCKETS LOCATION '/tmp/t2'
CREATE TABLE t3 (a INT DEFAULT 1, b INT GENERATED ALWAYS AS (a + 1)) USING parquet
CREATE TABLE t4 LIKE model
CREATE TABLE t5 (a INT) USING delta CLUSTER BY (a)
CREATE TEMPORARY VIEW model AS SELECT 1 AS model
CREATE OR REPLACE TEMPORARY VIEW model AS SELECT 1 AS a
CREATE OR REPLACE TEMP VIEW models (model COMMENT 'x', b) AS SELECT 1, 2
CREATE GLOBAL TEMPORARY VIEW model AS SELECT 1
CREATE VIEW IF NOT EXISTS model AS SELECT 1
CREATE VIEW ml_predict (model, a) AS SELECT 1, 2
CREATE TEMPORARY VIEW model USING parquet OPTIONS (path '/tmp/x')
CREATE OR REPLACE TABLE model (a INT) USING parquet
REPLACE TABLE model (a INT) USING parquet
ALTER TABLE model RENAME TO models
ALTER TABLE model ADD COLUMNS (model STRING AFTER a)
ALTER TABLE model DROP COLUMN model
ALTER TABLE model ALTER COLUMN model TYPE BIGINT
ALTER TABLE model RENAME COLUMN model TO m
ALTER TABLE model SET TBLPROPERTIES ('model' = 'x')
ALTER TABLE model UNSET TBLPROPERTIES IF EXISTS ('model')
ALTER TABLE model SET LOCATION '/tmp/x'
ALTER TABLE model ADD PARTITION (model = 'x')
ALTER TABLE model DROP IF EXISTS PARTITION (model = 'x')
ALTER TABLE model RECOVER PARTITIONS
ALTER VIEW model AS SELECT 2
ALTER VIEW model RENAME TO models
DROP TABLE model
DROP TABLE IF EXISTS model PURGE
DROP VIEW model
DROP VIEW IF EXISTS models
TRUNCATE TABLE model
TRUNCATE TABLE model PARTITION (model = 'x')
REPAIR TABLE model
COMMENT ON TABLE model IS 'a table of models'
COMMENT ON COLUMN model.model IS 'x'
CREATE INDEX model ON TABLE t (a)
DROP INDEX model ON TABLE t

-- Databases, catalogs, functions
CREATE DATABASE model
CREATE SCHEMA IF NOT EXISTS model COMMENT 'x' LOCATION '/tmp/m' WITH DBPROPERTIES (a = 'b')
ALTER DATABASE model SET DBPROPERTIES ('model' = 'x')
ALTER SCHEMA model SET LOCATION '/tmp/m'
DROP DATABASE IF EXISTS model CASCADE
USE model
USE SCHEMA models
USE NAMESPACE model.models
SET CATALOG spark_catalog
CREATE FUNCTION model AS 'com.example.Model' USING JAR '/tmp/model.jar'
CREATE OR REPLACE TEMPORARY FUNCTION model AS 'com.example.Model'
CREATE FUNCTION IF NOT EXISTS db.model AS 'com.example.Model'
CREATE TEMPORARY FUNCTION model(a INT) RETURNS INT RETURN a + 1
CREATE OR REPLACE FUNCTION ml_predict(model STRING, a INT) RETURNS STRING RETURN concat(model, a)
CREATE FUNCTION model(a INT COMMENT 'x' DEFAULT 3) RETURNS TABLE (model INT) RETURN SELECT a AS model
CREATE FUNCTION f(a STRING) RETURNS INT LANGUAGE SQL DETERMINISTIC COMMENT 'c' CONTAINS SQL RETURN length(a)
DROP FUNCTION IF EXISTS model
DROP TEMPORARY FUNCTION model
REFRESH FUNCTION model

-- Rows
INSERT INTO model VALUES (1, 'x')
INSERT INTO model (a, model) VALUES (1, 'x')
INSERT INTO TABLE model SELECT * FROM t
INSERT INTO ml_predict (model) VALUES (1)
INSERT INTO TABLE ml_predict (model, a) SELECT model, a FROM t
INSERT OVERWRITE model SELECT * FROM t
INSERT OVERWRITE TABLE model PARTITION (model = 'x') SELECT a FROM t
INSERT INTO model BY NAME SELECT 1 AS a
INSERT INTO model REPLACE WHERE a = 1 SELECT * FROM t
INSERT OVERWRITE DIRECTORY '/tmp/model' USING parquet SELECT * FROM t
UPDATE model SET model = 'x' WHERE a = 1
DELETE FROM model WHERE model = 'x'
MERGE INTO model USING s ON model.a = s.a WHEN MATCHED THEN UPDATE SET model = s.c WHEN NOT MATCHED THEN INSERT *
MERGE INTO model AS m USING (SELECT 1 AS a) AS s ON m.a = s.a WHEN MATCHED AND m.a > 1 THEN DELETE WHEN NOT MATCHED BY SOURCE THEN UPDATE SET m.a = 2
LOAD DATA LOCAL INPATH '/tmp/x' INTO TABLE model

-- Telling about things
DESCRIBE model
DESC model
DESCRIBE model;
DESCRIBE TABLE model
DESCRIBE TABLE EXTENDED model
DESCRIBE EXTENDED model
DESC FORMATTED model
DESCRIBE EXTENDED model AS JSON
DESCRIBE model.x
DESCRIBE db.model
DESCRIBE model PARTITION (model = 'x')
DESCRIBE TABLE model model
DESCRIBE TABLE model x
DESCRIBE models x
DESCRIBE `model` x
DESCRIBE FUNCTION model
DESC FUNCTION EXTENDED model
DESCRIBE DATABASE model
DESC SCHEMA EXTENDED model
DESCRIBE QUERY SELECT model FROM t
DESCRIBE SELECT model FROM t
DESCRIBE CATALOG model
SHOW TABLES
SHOW TABLES IN model LIKE 'm*'
SHOW TABLES 'model*'
SHOW TABLE EXTENDED LIKE 'model'
SHOW VIEWS IN model
SHOW DATABASES LIKE 'model'
SHOW SCHEMAS
SHOW CATALOGS
SHOW COLUMNS IN model
SHOW COLUMNS FROM model IN db
SHOW FUNCTIONS LIKE 'model*'
SHOW USER FUNCTIONS
SHOW PARTITIONS model
SHOW PARTITIONS model PARTITION (model = 'x')
SHOW CREATE TABLE model
SHOW CREATE TABLE models AS SERDE
SHOW TBLPROPERTIES model
SHOW TBLPROPERTIES model ('model')
SHOW CURRENT NAMESPACE
SHOW TABLES IN versions LIKE 'model versions'
SHOW COLUMNS IN versions
SHOW FUNCTIONS LIKE 'promote'
EXPLAIN SELECT model FROM t
EXPLAIN EXTENDED SELECT * FROM t AS model
EXPLAIN FORMATTED SELECT count(model) FROM t
EXPLAIN COST SELECT 1
EXPLAIN CODEGEN SELECT 1

-- Settings, caches, statistics, resources
SET
SET -v
SET spark.sql.ansi.enabled
SET spark.sql.shuffle.partitions=3
SET model=churn
SET model.path=CREATE MODEL m
SET TIME ZONE 'UTC'
SET TIME ZONE LOCAL
RESET
RESET spark.sql.shuffle.partitions
CACHE TABLE model
CACHE LAZY TABLE model OPTIONS ('storageLevel' 'DISK_ONLY') AS SELECT 1 AS a
UNCACHE TABLE IF EXISTS model
CLEAR CACHE
REFRESH TABLE model
REFRESH '/tmp/model'
ANALYZE TABLE model COMPUTE STATISTICS
ANALYZE TABLE model COMPUTE STATISTICS FOR COLUMNS model, a
ANALYZE TABLES IN model COMPUTE STATISTICS NOSCAN
ADD JAR /tmp/model.jar
ADD FILE '/tmp/model'
LIST JARS
ADD ARCHIVE /tmp/model.zip

-- Variables and scripts
DECLARE VARIABLE model STRING DEFAULT 'x'
DECLARE OR REPLACE model INT = 3
SET VAR model = 4
SET VARIABLE (model, models) = (SELECT 1, 2)
DROP TEMPORARY VARIABLE IF EXISTS model
EXECUTE IMMEDIATE 'SELECT 1'
EXECUTE IMMEDIATE 'SELECT ?' USING 'model'
EXECUTE IMMEDIATE 'SELECT :model' INTO model USING 'x' AS model
CALL system.model(1)
CALL cat.ns.register(model => 'x')
SELECT :model, :models
SELECT ?, model FROM t WHERE a = ?
BEGIN
  SELECT 1;
  END
BEGIN
  DECLARE model INT DEFAULT 1;
  SET model = model + 1;
  SELECT model;
  END
BEGIN
  DECLARE model STRING;
  IF 1 = 1 THEN SELECT model FROM t; ELSE SELECT 2; END IF;
  WHILE model IS NULL DO SET model = 'x'; END WHILE;
  END
BEGIN
  FOR model AS SELECT a FROM t DO SELECT model.a; END FOR;
  END
BEGIN
  DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN SELECT 'model'; END;
  CREATE TABLE ml_predict (model INT, a INT) USING parquet;
  DESCRIBE model;
  END
BEGIN
  model: LOOP LEAVE model; END LOOP;
  REPEAT SELECT 1; UNTIL true END REPEAT;
  CASE WHEN true THEN SELECT 1; END CASE;
  END
