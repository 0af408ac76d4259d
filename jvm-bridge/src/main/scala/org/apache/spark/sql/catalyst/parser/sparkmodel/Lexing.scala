// SPDX-License-Identifier: Apache-2.0
package org.apache.spark.sql.catalyst.parser.sparkmodel

import org.antlr.v4.runtime.CharStreams
import org.apache.spark.sql.catalyst.parser.{SqlBaseLexer, UpperCaseCharStream}
import org.apache.spark.sql.catalyst.trees.Origin
import org.apache.spark.sql.errors.QueryParsingErrors

/** What statements about models need of Spark's parser; the stream of characters is private to the package above. */
object Lexing {
  def lexer(sql: String): SqlBaseLexer = {
    val lexer = new SqlBaseLexer(new UpperCaseCharStream(CharStreams.fromString(sql)))
    lexer.removeErrorListeners() // they would print
    lexer
  }

  def unclosedComment(sql: String, start: Origin, stop: Origin): Throwable =
    QueryParsingErrors.unclosedBracketedCommentError(sql, start, stop)
}
