// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.parse

import java.util.Locale

import org.antlr.v4.runtime.{Lexer, Token => AntlrToken}
import org.apache.spark.sql.catalyst.parser.ParserUtils
import org.apache.spark.sql.catalyst.parser.SqlBaseLexer._
import org.apache.spark.sql.catalyst.parser.sparkmodel.Lexing
import org.apache.spark.sql.catalyst.trees.Origin
import org.apache.spark.sql.internal.SQLConf

/** What a token is: a keyword or plain name, a quoted name, a string, a number, code between `$$`, or a sign. */
sealed trait Kind

object Kind {
  case object Word extends Kind
  case object Quoted extends Kind
  case object Text extends Kind
  case object Number extends Kind
  case object Code extends Kind
  case object Sign extends Kind
  case object End extends Kind
}

/**
 * A token of a SQL text.
 *
 * @param text  as written
 * @param start where it begins in the SQL text
 */
case class Token(kind: Kind, text: String, start: Int) {
  def end: Int = start + text.length

  /** A word in upper case, or a sign; nothing that is quoted. */
  def word: String = kind match {
    case Kind.Word => text.toUpperCase(Locale.ROOT)
    case Kind.Sign => text
    case _ => ""
  }

  /** What it stands for: a name, or a string's characters. */
  def value: String = kind match {
    case Kind.Quoted => text.substring(1, text.length - 1).replace(text.take(1) * 2, text.take(1))
    case Kind.Text if SQLConf.get.escapedStringLiterals =>
      text.substring(text.indexWhere("'\"".contains(_)) + 1, text.length - 1)
    case Kind.Text => ParserUtils.unescapeSQLString(text)
    case Kind.Code => text.substring(tagLength, text.length - tagLength)
    case _ => text
  }

  def isName: Boolean = kind == Kind.Word || kind == Kind.Quoted

  private def tagLength: Int = text.indexOf('$', 1) + 1

  /** As Spark's own messages name it. */
  def shown: String = if (kind == Kind.End) "end of input" else s"'$text'"
}

/** The tokens of a SQL text as Spark's lexer sees them, without comments, one by one; the last one is the end. */
final class Tokens(sql: String) extends Iterator[Token] {
  private val lexer = Lexing.lexer(sql)
  private val plain = sql.codePointCount(0, sql.length) == sql.length
  private var over = false

  override def hasNext: Boolean = !over

  override def next(): Token = {
    val found = Iterator.continually(lexer.nextToken()).dropWhile(_.getChannel != AntlrToken.DEFAULT_CHANNEL).next()
    if (found.getType == AntlrToken.EOF) {
      over = true
      Token(Kind.End, "", sql.length)
    } else {
      val (start, end) = (at(found.getStartIndex), at(found.getStopIndex + 1))
      code(start).getOrElse(Token(kind(found), sql.substring(start, end), start))
    }
  }

  // Spark's lexer counts code points.
  private def at(index: Int): Int = if (plain) index else sql.offsetByCodePoints(0, index)

  private def kind(token: AntlrToken): Kind = token.getType match {
    case STRING_LITERAL => Kind.Text
    case DOUBLEQUOTED_STRING => if (SQLConf.get.doubleQuotedIdentifiers) Kind.Quoted else Kind.Text
    case BACKQUOTED_IDENTIFIER => Kind.Quoted
    case INTEGER_VALUE | DECIMAL_VALUE | EXPONENT_VALUE | BIGINT_LITERAL | SMALLINT_LITERAL | TINYINT_LITERAL |
        FLOAT_LITERAL | DOUBLE_LITERAL | BIGDECIMAL_LITERAL => Kind.Number
    case IDENTIFIER => Kind.Word
    case _ => if (token.getText.head.isLetter) Kind.Word else Kind.Sign
  }

  // Spark knows $$ since 4.2, but has it as several tokens. For the lexer of 4.1 it is two signs, and what follows
  // could be anything.
  private def code(start: Int): Option[Token] =
    if (sql.charAt(start) != '$') None
    else Tokens.Tag.findPrefixOf(sql.substring(start)).map { tag =>
      val close = sql.indexOf(tag, start + tag.length)
      val end = if (close < 0) start + tag.length else close + tag.length
      lexer.getInputStream.seek(sql.codePointCount(0, end))
      lexer._modeStack.clear()
      lexer.mode(Lexer.DEFAULT_MODE)
      Token(if (close < 0) Kind.Sign else Kind.Code, sql.substring(start, end), start)
    }

  /** All of them; Spark's error if a comment has no end. */
  def all(): Vector[Token] = {
    val found = toVector
    if (lexer.has_unclosed_bracketed_comment)
      throw Lexing.unclosedComment(sql, Tokens.origin(sql, found.head.start), Tokens.origin(sql, sql.length))
    found
  }
}

object Tokens {
  private val Tag = """\$[A-Za-z]*\$""".r

  /** Where an offset of a text is, as Spark tells it: the line from 1, the position in it from 0. */
  def origin(sql: String, offset: Int): Origin = {
    val before = sql.substring(0, offset)
    val line = before.lastIndexOf('\n') + 1
    Origin(Some(before.count(_ == '\n') + 1), Some(before.codePointCount(line, before.length)))
  }

  /** Whether a text has a word somewhere, in any case. */
  def mention(sql: String, word: String): Boolean =
    (0 to sql.length - word.length).exists(sql.regionMatches(true, _, word, 0, word.length))
}
