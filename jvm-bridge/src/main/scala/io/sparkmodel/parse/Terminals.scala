// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.parse

import scala.collection.mutable
import scala.util.parsing.combinator.Parsers
import scala.util.parsing.input.{NoPosition, Position, Reader}

import org.apache.commons.text.similarity.LevenshteinDistance
import org.apache.spark.sql.catalyst.parser.ParseException

/** What statements about models are made of, and the errors of a text that is not one. */
private[parse] abstract class Terminals(sql: String, tokens: Vector[Token], parameters: Parameters) extends Parsers {
  override type Elem = Token

  /** A part of the statement, as written. */
  case class Part(text: String, start: Int)

  // What was looked for where nothing fitted, at the last place that was reached.
  private var furthest = 0
  private val expected = mutable.LinkedHashSet.empty[String]

  /** The result of a parser that takes the whole text. */
  protected def read[T](parser: Parser[T]): T = parser(At(0)) match {
    case Success(result, _) => result
    case _: NoSuccess => fail(tokens(furthest), wanted(tokens(furthest)))
  }

  /** End with Spark's error for a syntax that it does not know. */
  def fail(at: Token, hint: String): Nothing =
    fail(at, "PARSE_SYNTAX_ERROR", Map("error" -> at.shown, "hint" -> s": $hint"))

  private def fail(at: Token, condition: String, parts: Map[String, String]): Nothing =
    throw new ParseException(Some(sql), Tokens.origin(sql, at.start), condition, parts)

  private def wanted(at: Token): String = {
    val labels = expected.filter(_.nonEmpty).toSeq
    val all = if (labels.size == 1) s"expected ${labels.head}" else s"expected one of ${labels.mkString(", ")}"
    nearest(at.word, labels.filter(label => label == label.toUpperCase)).fold(all) { near =>
      s"did you mean $near? ${all.capitalize}"
    }
  }

  private def nearest(written: String, words: Seq[String]): Option[String] = words
    .map(word => word -> LevenshteinDistance.getDefaultInstance.apply(word, written).intValue)
    .filter { case (word, distance) => distance <= 2 && distance * 2 < word.length }
    .minByOption(_._2).map(_._1)

  private case class At(index: Int) extends Reader[Token] {
    override def first: Token = tokens(index)
    override def rest: Reader[Token] = if (atEnd) this else At(index + 1)
    override def atEnd: Boolean = index == tokens.size - 1
    override def pos: Position = NoPosition
    override def offset: Int = index
  }

  protected def terminal[T](label: String)(take: PartialFunction[Token, T]): Parser[T] = Parser { in =>
    take.lift(in.first) match {
      case Some(value) => Success(value, in.rest)
      case None =>
        if (in.offset > furthest) {
          furthest = in.offset
          expected.clear()
        }
        if (in.offset == furthest) expected += label
        Failure(label, in)
    }
  }

  protected def word(upper: String): Parser[Token] = terminal(upper) { case token if token.word == upper => token }

  protected def sign(text: String): Parser[Token] =
    terminal(s"'$text'") { case token if token.kind == Kind.Sign && token.text == text => token }

  /** The end of the text, which Spark lets come after semicolons. */
  protected def end: Parser[Token] =
    here <~ rep(sign(";")) <~ terminal("end of input") { case token if token.kind == Kind.End => }

  protected def here: Parser[Token] = Parser(in => Success(in.first, in))

  protected def located[T](parser: Parser[T]): Parser[(Token, T)] = here ~ parser ^^ {
    case token ~ value => (token, value)
  }

  protected def oneOf(words: Seq[String]): Parser[String] =
    words.map(word => this.word(word.toUpperCase) ^^^ word).reduce(_ | _)

  protected def parenthesised[T](item: Parser[T]): Parser[List[T]] = sign("(") ~> rep1sep(item, sign(",")) <~ sign(")")

  // Names

  /** Words that go on after a name; a model has such a name in back quotes only. */
  protected val ClauseWords: Set[String] =
    Set("INPUT", "OUTPUT", "RETURNS", "CALLED", "COMMENT", "USING", "LOCATION", "OPTIONS", "WITH", "AS")
  private val Reserved = ClauseWords ++ Set("IF", "NOT", "EXISTS", "SET", "UNSET")

  protected def name: Parser[String] = terminal("a model's name") {
    case token if token.isName && !Reserved(token.word) => token
  } >> { token =>
    Parser { in =>
      val next = in.first
      if (next.word == ".") fail(next, "a model's name has one part, without a catalog or schema")
      if (token.kind == Kind.Word && !token.text.forall(isPlain))
        fail(token, "a name with other characters than letters, digits and _ goes between back quotes")
      Success(token.value, in)
    }
  }

  private def isPlain(c: Char): Boolean = c < 128 && c.isLetterOrDigit || c == '_'

  /** An option's key: a string, or names with dots between. */
  protected def key: Parser[String] =
    terminal("an option's key") { case token if token.isName || token.kind == Kind.Text => token } >> {
      case token if token.kind == Kind.Text => success(token.value)
      case token => rep(sign(".") ~> part) ^^ (parts => (token.value :: parts).mkString("."))
    }

  private def part: Parser[String] = terminal("the rest of an option's key") {
    case token if token.isName => token.value
  }

  // Values

  protected def option: Parser[(Token, (String, Any))] =
    located(key ~ (opt(sign("=")) ~> value) ^^ { case key ~ value => key -> value })

  private def value: Parser[Any] = string("a value: a string, a number, TRUE or FALSE") | number |
    terminal("") { case token if token.word == "TRUE" || token.word == "FALSE" => Boolean.box(token.word == "TRUE") } |
    parameter

  /** A string, or a parameter that is one. */
  protected def text(label: String): Parser[String] = string(label) | located(parameter) ^^ {
    case (_, text: String) => text
    case (token, other) => fail(token, s"expected $label, not the parameter's value $other")
  }

  // As in Spark, strings side by side are one.
  private def string(label: String): Parser[String] =
    terminal(label) { case token if token.kind == Kind.Text => token.value } ~ strings ^^ {
      case one ~ more => one + more
    }

  private def strings: Parser[String] = Parser { in =>
    val more = tokens.drop(in.offset).takeWhile(_.kind == Kind.Text)
    Success(more.map(_.value).mkString, At(in.offset + more.size))
  }

  protected def code: Parser[String] = terminal("") { case token if token.kind == Kind.Code => token.value }

  private def number: Parser[Any] = opt(terminal("") { case token if token.word == "-" => token }) ~
    terminal("") { case token if token.kind == Kind.Number => token } ^^ {
      case sign ~ token => valueOf(sign.fold("")(_ => "-") + token.text, token)
    }

  private def valueOf(text: String, token: Token): Any = {
    val digits = text.toUpperCase.replaceAll("(BD|[LSYFD])$", "")
    val isWhole = digits.matches("-?[0-9]+") && !text.toUpperCase.matches(".*(BD|[FD])$")
    if (!isWhole) Double.box(digits.toDouble)
    else digits.toLongOption.map(Long.box).getOrElse(fail(token, "the number is too large"))
  }

  /** The least and the most workers: a number from 1, or a string such as '0..3'. */
  protected def workers: Parser[(Int, Int)] =
    located(number | string("a number of workers, or a range such as '0..3'") | parameter) ^^ { case (token, value) =>
      val range = value match {
        case count: java.lang.Long => Some((count.longValue, count.longValue))
        case text: String => rangeOf(text)
        case _ => None
      }
      range.filter { case (least, most) => 0 <= least && least <= most && 1 <= most && most <= Int.MaxValue }
        .map { case (least, most) => (least.toInt, most.toInt) }
        .getOrElse(fail(token, "expected a number of workers, from 1, or a range such as '0..3'"))
    }

  private def rangeOf(text: String): Option[(Long, Long)] = text.split("\\.\\.", -1).map(_.trim.toLongOption) match {
    case Array(Some(count)) => Some((count, count))
    case Array(Some(least), Some(most)) => Some((least, most))
    case _ => None
  }

  /** The number of a version. */
  protected def version: Parser[Int] = located(number | parameter) ^^ {
    case (_, count: java.lang.Long) if count > 0 && count <= Int.MaxValue => count.toInt
    case (token, _) => fail(token, "expected a version's number, from 1")
  } | terminal("a version's number")(PartialFunction.empty)

  private def parameter: Parser[Any] =
    (terminal("") { case token if token.word == ":" => token } ~> terminal("a parameter's name") {
      case token if token.isName => (token, parameters.named(token.value), token.value)
    } | terminal("") {
      case token if token.word == "?" =>
        (token, parameters.positional(tokens.takeWhile(_ != token).count(_.word == "?")), s"_${token.start}")
    }) ^^ {
      case (_, Some(value @ (_: String | _: java.lang.Long | _: java.lang.Double | _: java.lang.Boolean)), _) => value
      case (token, Some(_), name) => fail(token, s"parameter $name has to be a string, a number or a boolean")
      case (token, None, name) => fail(token, "UNBOUND_SQL_PARAMETER", Map("name" -> name))
    }

  // Parts that Spark parses

  /** What is between parentheses. */
  protected def region: Parser[Part] = sign("(") >> { open =>
    Parser { in =>
      val depths = tokens.drop(in.offset).scanLeft(1)((depth, token) => depth + depthOf(token, "(", ")")).tail
      val close = in.offset + depths.indexOf(0)
      if (close < in.offset) fail(tokens.last, "expected ')'")
      if (close == in.offset) fail(tokens(close), "expected columns")
      Success(Part(sql.substring(open.end, tokens(close).start), open.end), At(close + 1))
    }
  }

  /** All up to one of some words that is not within parentheses or angle brackets. */
  protected def untilWord(words: Set[String], label: String): Parser[Part] = terminal(label) {
    case token if !words(token.word) && token.word != ";" && token.kind != Kind.End => token
  } >> { from =>
    Parser { in =>
      val depths = tokens.drop(in.offset - 1).scanLeft(0)((depth, token) => depth + depthOf(token, "(<", ")>"))
      val stop = tokens.indices.drop(in.offset).find { i =>
        val token = tokens(i)
        token.kind == Kind.End || token.word == ";" || depths(i - in.offset + 1) <= 0 && words(token.word)
      }.get
      Success(Part(sql.substring(from.start, tokens(stop - 1).end), from.start), At(stop))
    }
  }

  // A sign can be '>>', the end of two types.
  private def depthOf(token: Token, open: String, close: String): Int =
    if (token.kind != Kind.Sign) 0 else token.text.count(open.contains(_)) - token.text.count(close.contains(_))
}
