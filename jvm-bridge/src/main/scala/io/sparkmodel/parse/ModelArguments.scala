// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.parse

import scala.annotation.tailrec

/**
 * `ML_PREDICT(TABLE t, MODEL churn, ...)`: Spark's grammar has no models, and wants brackets around the table, so it is
 * given `ML_PREDICT(TABLE(t),'churn', ...)`.
 */
private[parse] object ModelArguments {
  private val Function = "ml_predict"

  /** The text with such arguments as Spark knows them; all else keeps its place, for Spark's errors to be right. */
  def rewrite(sql: String): String =
    if (!Tokens.mention(sql, Function)) sql else withTables(withModels(sql))

  private def withModels(sql: String): String =
    if (!Tokens.mention(sql, "model")) sql
    else {
      val tokens = new Tokens(sql).toVector
      calls(tokens).flatMap(arguments(tokens, _)(isModel)).foldLeft(sql) { (text, at) =>
        val (start, end) = (tokens(at).start, tokens(at + 1).end)
        text.patch(start, literal(sql.substring(start, end), tokens(at + 1).value), end - start)
      }
    }

  // From the last one to the first: a line may grow.
  private def withTables(sql: String): String =
    if (!Tokens.mention(sql, "table")) sql
    else {
      val tokens = new Tokens(sql).toVector
      calls(tokens).flatMap(arguments(tokens, _)(isTable)).distinct.sorted.foldRight(sql) { (at, text) =>
        val last = endOfName(tokens, at + 1)
        val closed = text.patch(tokens(last).end, ")", 0)
        val even = spare(text, tokens, last + 1).fold(closed)(blank => closed.patch(blank + 1, "", 1))
        even.patch(tokens(at).end, "(", if (isBlank(text(tokens(at).end))) 1 else 0)
      }
    }

  private def calls(tokens: Vector[Token]): Seq[Int] = tokens.indices.filter(isCall(tokens, _)).map(_ + 2)

  // A table or function of that name can be defined with a column or parameter `model`.
  private def isCall(tokens: Vector[Token], at: Int): Boolean =
    tokens(at).isName && tokens(at).value.equalsIgnoreCase(Function) && tokens(at + 1).word == "(" &&
      !Set("TABLE", "FUNCTION", "EXISTS")(before(tokens, at))

  /** The word before a name and its qualifiers. */
  @tailrec
  private def before(tokens: Vector[Token], at: Int): String =
    if (at >= 2 && tokens(at - 1).word == ".") before(tokens, at - 2)
    else if (at >= 1) tokens(at - 1).word
    else ""

  /** Where arguments of a kind are in one call, whose first begins at a token; nowhere if the call has no end. */
  private def arguments(tokens: Vector[Token], from: Int)(isKind: (Vector[Token], Int) => Boolean): Seq[Int] = {
    val depths = tokens.drop(from).scanLeft(1)((depth, token) => depth + depthOf(token))
    (from until from + depths.indexOf(0) - 2).filter { at =>
      depths(at - from) == 1 && Set("(", ",", "=>")(tokens(at - 1).word) && isKind(tokens, at)
    }
  }

  private def depthOf(token: Token): Int = token.word match {
    case "(" | "[" => 1
    case ")" | "]" => -1
    case _ => 0
  }

  // `ORDER BY a, model DESC` is not one. No model has a name that a string would have to escape.
  private def isModel(tokens: Vector[Token], at: Int): Boolean = {
    val name = tokens(at + 1)
    tokens(at).word == "MODEL" && name.isName && !Set("ASC", "DESC")(name.word) && !name.value.exists("'\\".contains(_)) &&
    isEnd(tokens(at + 2))
  }

  private def isTable(tokens: Vector[Token], at: Int): Boolean =
    tokens(at).word == "TABLE" && tokens(at + 1).isName && isEnd(tokens(endOfName(tokens, at + 1) + 1))

  private def isEnd(token: Token): Boolean = Set(",", ")")(token.word)

  /** Where a name of one to three parts ends that begins at a token. */
  private def endOfName(tokens: Vector[Token], at: Int): Int =
    at + 2 * (0 to 1).takeWhile(i => tokens(at + 2 * i + 1).word == "." && tokens(at + 2 * i + 2).isName).size

  /** The first blank from a token on, in its line, that can be left out. */
  private def spare(sql: String, tokens: Vector[Token], from: Int): Option[Int] = {
    val line = Some(sql.indexOf('\n', tokens(from).start)).filter(_ >= 0).getOrElse(sql.length)
    tokens.drop(from).takeWhile(_.end < line).find { token =>
      val blanks = sql.substring(token.end).takeWhile(isBlank).length
      blanks > 1 || blanks == 1 && Set(",", ")")(token.word)
    }.map(_.end)
  }

  private def isBlank(character: Char): Boolean = character == ' ' || character == '\t'

  /** The name as a string in the place of `MODEL name`; lines stay what they are. */
  private def literal(written: String, name: String): String = {
    val string = s"'$name'"
    if (string.length <= written.takeWhile(_ != '\n').length) string + blank(written.drop(string.length))
    else {
      // The name is on a line of its own, and too long for that of MODEL. To Spark, strings side by side are one.
      val (above, below) = written.splitAt(written.lastIndexOf('\n') + 1)
      val head = name.take(3)
      s"'$head'" + blank(above.drop(head.length + 2)) + s"'${name.drop(3)}'".padTo(below.length, ' ')
    }
  }

  private def blank(text: String): String = text.map(c => if (c == '\n' || c == '\r') c else ' ')
}
