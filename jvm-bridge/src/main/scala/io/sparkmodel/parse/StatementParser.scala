// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.parse

import org.apache.spark.sql.catalyst.parser.ParameterContext

/** Finds out whether a SQL text is a statement about models, and reads it. */
object StatementParser {

  /**
   * The statement, or None for what belongs to Spark.
   *
   * A text that begins as a statement about models and goes on wrongly fails with Spark's ParseException.
   */
  def parse(sql: String, parameters: Option[ParameterContext] = None): Option[Statement] =
    if (!Tokens.mention(sql, "model") || !isOurs(explained(new Tokens(sql).take(Longest).toList))) None
    else Some(new StatementGrammar(sql, new Tokens(sql).all(), new Parameters(parameters)).statement())

  val ExplainModes = Seq("EXTENDED", "CODEGEN", "COST", "FORMATTED")

  // EXPLAIN EXTENDED CREATE OR REPLACE TEMPORARY MODEL
  private val Longest = 7

  private def explained(head: List[Token]): List[Token] = head.map(_.word) match {
    case "EXPLAIN" :: mode :: _ => head.drop(if (ExplainModes.contains(mode)) 2 else 1)
    case _ => head
  }

  /**
   * Spark's grammar has no statement that begins with these words, but for DESCRIBE and SHOW.
   *
   * `DESCRIBE model` is that of a table, `DESCRIBE model PARTITION (...)` and `DESCRIBE model AS JSON` as well;
   * `DESCRIBE model x`, its column x, is what we take from Spark. `SHOW models FUNCTIONS` has an error of its own, and
   * `SHOW model FUNCTIONS` too.
   */
  private def isOurs(head: List[Token]): Boolean = head.map(_.word) match {
    case "CREATE" :: rest =>
      val kind = rest match {
        case "OR" :: "REPLACE" :: more => more
        case _ => rest
      }
      kind.dropWhile(word => word == "TEMPORARY" || word == "TEMP").headOption.contains("MODEL")
    case ("REGISTER" | "UNREGISTER" | "ALTER" | "DROP") :: "MODEL" :: _ => true
    case "SHOW" :: "CREATE" :: "MODEL" :: _ => true
    case "SHOW" :: "MODEL" :: next :: _ => next != "FUNCTIONS" && head.lift(2).exists(_.isName)
    case "SHOW" :: "MODELS" :: next => !next.headOption.contains("FUNCTIONS")
    case ("DESC" | "DESCRIBE") :: "MODEL" :: "PARTITION" :: "(" :: _ => false
    case ("DESC" | "DESCRIBE") :: "MODEL" :: "AS" :: _ => false
    case ("DESC" | "DESCRIBE") :: "MODEL" :: _ => head.lift(2).exists(_.isName)
    case _ => false
  }
}
