# SPDX-License-Identifier: Apache-2.0
"""Statements about models that are wrong fail at the word that is."""

from __future__ import annotations

import pytest

from tests.bridge import Jvm
from tests.unit.bridge.sql.conftest import WrongStatement, result

CLAUSES = "INPUT, OUTPUT, RETURNS, CALLED, COMMENT, USING, LOCATION, OPTIONS, WITH, AS"

WORKERS = "a number of workers, from 1, or a range such as '0..3'"

# The word at fault is between « and »; nothing between them is the end.
WRONG: dict[str, str] = {
    "CREATE MODEL «»": "expected one of IF, a model's name",
    "CREATE MODEL «'m'» LOCATION 'x'": "expected one of IF, a model's name",
    "CREATE MODEL «LOCATION» 'x'": "expected one of IF, a model's name",
    "CREATE MODEL a«.»b LOCATION 'x'": "a model's name has one part, without a catalog or schema",
    "CREATE MODEL «é» LOCATION 'x'": "a name with other characters than letters, digits and _ goes between back quotes",
    "CREATE MODEL IF «EXISTS» m LOCATION 'x'": "expected NOT",
    "CREATE OR REPLACE MODEL «IF» NOT EXISTS m LOCATION 'x'": "IF NOT EXISTS cannot go with OR REPLACE",
    "CREATE MODEL m«»": "expected LOCATION '...'",
    "CREATE MODEL m USING mlflow«»": "expected LOCATION '...'",
    "CREATE MODEL m USING python«»": "expected LOCATION '...', or AS with code",
    "CREATE MODEL m «LOCATOIN» 'x'": f"did you mean LOCATION? Expected one of {CLAUSES}, ';', end of input",
    "CREATE MODEL m\n  «OPTION» (a = 1)\n  LOCATION 'x'": (
        f"did you mean OPTIONS? Expected one of {CLAUSES}, ';', end of input"
    ),
    "CREATE MODEL m LOCATION «x»": "expected a location as a string",
    "CREATE MODEL m LOCATION 'x' «LOCATION» 'y'": "LOCATION cannot be here, since it is there already",
    "CREATE MODEL m OUTPUT (a int) «RETURNS» int LOCATION 'x'": "RETURNS cannot be here, since it is there already",
    "CREATE MODEL m OPTIONS (a = 1) «WITH» (b = 1) LOCATION 'x'": "WITH cannot be here, since it is there already",
    "CREATE MODEL m USING «pythn» LOCATION 'x'": (
        "did you mean PYTHON? Expected one of MLFLOW, PICKLE, TABLE, PYTHON, SPARKML"
    ),
    "CREATE MODEL m «AS» $$a$$": "AS with code needs USING python",
    "CREATE MODEL m USING mlflow «AS» 'a'": "AS with code needs USING python",
    "CREATE MODEL m USING python AS 'a' «LOCATION» 'x'": "LOCATION cannot go with code",
    "CREATE MODEL m USING python AS «$$» a = 1": "expected code between $$ and $$",
    "CREATE MODEL m COMMENT «c» LOCATION 'x'": "expected a comment as a string",
    "CREATE MODEL m INPUT «a» int LOCATION 'x'": "expected '('",
    "CREATE MODEL m INPUT («)» LOCATION 'x'": "expected columns",
    "CREATE MODEL m LOCATION 'x' INPUT (a int«»": "expected ')'",
    "CREATE MODEL m RETURNS «LOCATION» 'x'": "expected one of NULL, a type",
    "CREATE MODEL m LOCATION 'x' OPTIONS («)»": "expected an option's key",
    "CREATE MODEL m LOCATION 'x' OPTIONS (a = 1 «b» = 2)": "expected one of ',', ')'",
    "CREATE MODEL m LOCATION 'x' OPTIONS (a = «fail»)": "expected a value: a string, a number, TRUE or FALSE",
    "CREATE MODEL m «CALLED» ON NULL INPUT LOCATION 'x' OPTIONS (null_input = 'null')": (
        "option null_input says it already"
    ),
    "CREATE MODEL m CALLED ON NULL INPUT «RETURNS» NULL ON NULL INPUT LOCATION 'x'": (
        "RETURNS cannot be here, since it is there already"
    ),
    "CREATE MODEL m LOCATION 'x' OPTIONS (a = 1, «a» = 2)": "option a is there already",
    "CREATE MODEL m LOCATION 'x' OPTIONS (a = «99999999999999999999»)": "the number is too large",
    "CREATE MODEL m LOCATION 'x'; «SELECT» 1": "expected one of ';', end of input",
    "EXPLAIN DROP MODEL «»": "expected one of IF, a model's name",
    "EXPLAIN COST ALTER MODEL m SCALE «3»": "expected TO",
    "REGISTER MODEL «m»": "expected the model's URI as a string",
    "REGISTER MODEL 'u'«»": "expected AS",
    "REGISTER MODEL 'u' AS a«.»b": "a model's name has one part, without a catalog or schema",
    "REGISTER MODEL 'u' AS f «LOCATION» 'x'": "expected one of OPTIONS, WITH, ';', end of input",
    "UNREGISTER MODEL «»": "expected a model's name",
    "ALTER MODEL m«»": "expected one of SET, UNSET, SCALE, REFRESH, PROMOTE, ROLLBACK",
    "ALTER MODEL m «ROLBACK»": "did you mean ROLLBACK? Expected one of SET, UNSET, SCALE, REFRESH, PROMOTE, ROLLBACK",
    "ALTER MODEL m SET «OPTOINS» (a = 1)": "did you mean OPTIONS? Expected one of LOCATION, OPTIONS",
    "ALTER MODEL m UNSET OPTIONS (a «=» 1)": "expected one of '.', ',', ')'",
    "ALTER MODEL m SCALE «3»": "expected TO",
    "ALTER MODEL m SCALE TO «0»": f"expected {WORKERS}",
    "ALTER MODEL m SCALE TO «1.5»": f"expected {WORKERS}",
    "ALTER MODEL m SCALE TO «'0..0'»": f"expected {WORKERS}",
    "ALTER MODEL m SCALE TO «'3..1'»": f"expected {WORKERS}",
    "ALTER MODEL m SCALE TO «'-1..1'»": f"expected {WORKERS}",
    "ALTER MODEL m SCALE TO «'many'»": f"expected {WORKERS}",
    "ALTER MODEL m SCALE TO «many»": "expected a number of workers, or a range such as '0..3'",
    "ALTER MODEL m SCALE TO «0.».3": f"expected {WORKERS}",
    "ALTER MODEL m SET LOCATION 'x' «OPTION» (a = 1)": (
        "did you mean OPTIONS? Expected one of OPTIONS, WITH, ';', end of input"
    ),
    "ALTER MODEL m SET LOCATION 'x' OPTIONS (traffic = 1, «traffic» = 2)": "option traffic is there already",
    "ALTER MODEL m «PROMOT»": "did you mean PROMOTE? Expected one of SET, UNSET, SCALE, REFRESH, PROMOTE, ROLLBACK",
    "ALTER MODEL m PROMOTE «2»": "expected one of ';', end of input",
    "ALTER MODEL m ROLLBACK «2»": "expected one of TO, ';', end of input",
    "ALTER MODEL m ROLLBACK TO «0»": "expected a version's number, from 1",
    "ALTER MODEL m ROLLBACK TO «'x'»": "expected a version's number",
    "ALTER MODEL m ROLLBACK TO «»": "expected a version's number",
    "SHOW MODEL «VERSION» m": "did you mean VERSIONS? Expected VERSIONS",
    "SHOW MODEL «wine»": "expected VERSIONS",
    "SHOW MODEL VERSIONS«»": "expected a model's name",
    "SHOW MODEL VERSIONS m «LIKE» 'x'": "expected one of ';', end of input",
    "SHOW MODEL VERSIONS a«.»b": "a model's name has one part, without a catalog or schema",
    "ALTER MODEL m REFRESH «now»": "expected one of ';', end of input",
    "DROP MODEL «»": "expected one of IF, a model's name",
    "DROP MODEL IF «m»": "expected EXISTS",
    "DROP MODEL m «CASCADE»": "expected one of FORCE, ';', end of input",
    "SHOW MODELS «IN» x": "expected one of LIKE, a pattern as a string, ';', end of input",
    "SHOW MODELS LIKE «x»": "expected a pattern as a string",
    "SHOW CREATE MODEL «»": "expected a model's name",
    "DESCRIBE MODEL x«.»y": "a model's name has one part, without a catalog or schema",
    "DESC MODEL EXTENDED «»": "expected a model's name",
    "DESCRIBE MODEL m «n»": "expected one of ';', end of input",
}


def error(parser: Jvm, sql: str) -> WrongStatement:
    with pytest.raises(WrongStatement) as caught:
        result(parser.call("parse", sql=sql))
    assert caught.value.kind == "ParseException"
    return caught.value


@pytest.mark.parametrize("marked", WRONG)
def test_a_wrong_statement_fails_at_the_word(marked: str, parser: Jvm) -> None:
    sql = marked.replace("«", "").replace("»", "")
    before, rest = marked.split("«")
    word = rest.split("»")[0]
    place = (before.count("\n") + 1, len(before.rsplit("\n", 1)[-1]))
    said = error(parser, sql)
    assert said.condition == "PARSE_SYNTAX_ERROR"
    at = f"'{word}'" if word else "end of input"
    assert f"Syntax error at or near {at}: {WRONG[marked]}. SQLSTATE: 42601" in str(said)
    assert said.place == place
    assert f"{'-' * place[1]}^^^" in str(said).splitlines()


@pytest.mark.parametrize(
    ("sql", "condition", "said", "place"),
    [
        (
            "CREATE MODEL m INPUT (a int,\n  b foo(3)) LOCATION 'x'",
            "UNSUPPORTED_DATATYPE",
            'Unsupported data type "FOO(3)"',
            (2, 4),
        ),
        ("CREATE MODEL m INPUT (a int b) LOCATION 'x'", "PARSE_SYNTAX_ERROR", "at or near 'b'", (1, 28)),
        ("CREATE MODEL m OUTPUT (a) LOCATION 'x'", "PARSE_SYNTAX_ERROR", "at or near end of input", (1, 24)),
        ("CREATE MODEL m RETURNS foo LOCATION 'x'", "UNSUPPORTED_DATATYPE", 'Unsupported data type "FOO"', (1, 23)),
        ("CREATE MODEL m RETURNS array<int LOCATION 'x'", "PARSE_SYNTAX_ERROR", "at or near '<'", (1, 28)),
        ("CREATE MODEL m LOCATION 'x' /* c", "UNCLOSED_BRACKETED_COMMENT", "unclosed bracketed comment", (1, 0)),
    ],
)
def test_what_spark_parses_fails_as_spark_says_it(
    sql: str, condition: str, said: str, place: tuple[int, int], parser: Jvm
) -> None:
    found = error(parser, sql)
    assert found.condition == condition
    assert said in str(found)
    assert found.place == place
    assert "\n== SQL ==\n" + sql.split("\n")[0] in str(found)
