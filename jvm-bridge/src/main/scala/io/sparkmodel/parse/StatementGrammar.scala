// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.parse

import scala.jdk.CollectionConverters._

import org.apache.spark.sql.catalyst.parser.{CatalystSqlParser, ParseException}
import org.apache.spark.sql.types.StructType

/** The statements about models, one production each; for one text. */
private[parse] final class StatementGrammar(sql: String, tokens: Vector[Token], parameters: Parameters)
  extends Terminals(sql, tokens, parameters) {

  def statement(): Statement = read(explain | plain)

  private def plain: Parser[Statement] =
    create |
      (register | unregister | alter | drop | showModels | showVersions | showCreate | describe) <~ end

  private def explain: Parser[Statement] =
    word("EXPLAIN") ~> opt(ExplainModes.map(word).reduce(_ | _)) ~ plain ^^ {
      case mode ~ statement => ExplainModel(statement, mode.fold("SIMPLE")(_.word))
    }

  private def create: Parser[Statement] =
    word("CREATE") ~> opt(word("OR") ~> word("REPLACE")) ~ opt(word("TEMPORARY") | word("TEMP")) ~
      (word("MODEL") ~> opt(word("IF") <~ word("NOT") <~ word("EXISTS"))) ~ name ~ rep(clause) ~ end ^^ {
        case replace ~ temporary ~ ifNotExists ~ name ~ clauses ~ end =>
          if (replace.isDefined) ifNotExists.foreach(fail(_, "IF NOT EXISTS cannot go with OR REPLACE"))
          val all = new Clauses(clauses)
          all.check(end)
          CreateModel(
            name, replace.isDefined, temporary.isDefined, ifNotExists.isDefined,
            inputs = all.find { case Inputs(columns) => columns },
            output = all.find { case Output(dataType) => dataType },
            comment = all.find { case Comment(text) => text },
            using = all.find { case Using(kind) => kind },
            location = all.find { case Location(uri) => uri },
            code = all.find { case Code(text) => text },
            options = all.options)
      }

  private def register: Parser[Statement] =
    word("REGISTER") ~> word("MODEL") ~> text("the model's URI as a string") ~ (word("AS") ~> name) ~ opt(options) ^^ {
      case uri ~ name ~ given =>
        CreateModel(
          name, replace = true, temporary = true, ifNotExists = false, None, None, None, None, Some(uri), None,
          given.map(_.value).getOrElse(Nil))
    }

  private def unregister: Parser[Statement] =
    word("UNREGISTER") ~> word("MODEL") ~> name ^^ (DropModel(_, ifExists = false, force = false))

  private def alter: Parser[Statement] = word("ALTER") ~> word("MODEL") ~> name ~ action ^^ {
    case name ~ action => AlterModel(name, action)
  }

  private def action: Parser[AlterAction] =
    word("SET") ~> (
      word("LOCATION") ~> text(Uri) ~ opt(options) ^^ {
        case uri ~ how => SetLocation(uri, how.map(_.value).getOrElse(Nil))
      } |
      word("OPTIONS") ~> parenthesised(option) ^^ (found => SetOptions(unique(found)))) |
    word("UNSET") ~> word("OPTIONS") ~> parenthesised(located(key)) ^^ (found => UnsetOptions(found.map(_._2))) |
    word("SCALE") ~> word("TO") ~> workers ^^ { case (least, most) => ScaleTo(least, most) } |
    word("REFRESH") ^^^ Refresh |
    word("PROMOTE") ^^^ Promote |
    word("ROLLBACK") ~> opt(word("TO") ~> version) ^^ Rollback

  private def drop: Parser[Statement] =
    word("DROP") ~> word("MODEL") ~> opt(word("IF") ~> word("EXISTS")) ~ name ~ opt(word("FORCE")) ^^ {
      case ifExists ~ name ~ force => DropModel(name, ifExists.isDefined, force.isDefined)
    }

  private def showModels: Parser[Statement] =
    word("SHOW") ~> word("MODELS") ~> (word("LIKE") ~> text("a pattern as a string") ^^ (Some(_)) |
      opt(text("a pattern as a string"))) ^^ ShowModels

  private def showVersions: Parser[Statement] =
    word("SHOW") ~> word("MODEL") ~> word("VERSIONS") ~> name ^^ ShowModelVersions

  private def showCreate: Parser[Statement] =
    word("SHOW") ~> word("CREATE") ~> word("MODEL") ~> name ^^ ShowCreateModel

  private def describe: Parser[Statement] =
    (word("DESCRIBE") | word("DESC")) ~> word("MODEL") ~> opt(word("EXTENDED")) ~ name ^^ {
      case extended ~ name => DescribeModel(name, extended.isDefined)
    }

  // Clauses: each is a value and the word that it begins with.

  private sealed trait Value
  private case class Inputs(columns: String) extends Value
  private case class Output(dataType: String) extends Value
  private case class NullInput(means: String) extends Value
  private case class Comment(text: String) extends Value
  private case class Using(kind: String) extends Value
  private case class Location(uri: String) extends Value
  private case class Code(text: String) extends Value
  private case class Options(value: Seq[(String, Any)]) extends Value

  private def clause: Parser[(Token, Value)] = located(
    word("INPUT") ~> columns ^^ { case (text, _) => Inputs(text) } |
    word("OUTPUT") ~> columns ^^ { case (_, schema) => Output(outputType(schema)) } |
    word("RETURNS") ~> word("NULL") ~> onNullInput ^^^ NullInput("null") |
    word("CALLED") ~> onNullInput ^^^ NullInput("call") |
    word("RETURNS") ~> dataType ^^ Output |
    word("COMMENT") ~> text("a comment as a string") ^^ Comment |
    word("USING") ~> oneOf(Kinds) ^^ Using |
    word("LOCATION") ~> text(Uri) ^^ Location |
    options |
    word("AS") ~> (code | text("code between $$ and $$")) ^^ Code)

  private def onNullInput: Parser[Any] = word("ON") ~> word("NULL") ~> word("INPUT")

  private def options: Parser[Options] =
    (word("OPTIONS") | word("WITH")) ~> parenthesised(option) ^^ (found => Options(unique(found)))

  private def ExplainModes = StatementParser.ExplainModes
  private val NullInputKey = "null_input"
  private val Uri = "a location as a string"
  private val Kinds = Seq("mlflow", "pickle", "table", "python", "sparkml")

  /** The clauses of one statement. */
  private final class Clauses(found: List[(Token, Value)]) {
    def find[T](pick: PartialFunction[Value, T]): Option[T] = found.map(_._2).collectFirst(pick)

    /** The options, with those that have words of their own. */
    def options: Seq[(String, Any)] =
      find { case Options(options) => options }.getOrElse(Nil) ++ find { case NullInput(means) => NullInputKey -> means }

    def check(end: Token): Unit = {
      if (find { case Options(all) if all.exists(_._1.equalsIgnoreCase(NullInputKey)) => () }.isDefined)
        at { case NullInput(_) => }.foreach(fail(_, s"option $NullInputKey says it already"))
      found.groupBy { case (_, value) => value.getClass }.values.filter(_.size > 1).map(_(1)._1).minByOption(_.start)
        .foreach(again => fail(again, s"${again.word} cannot be here, since it is there already"))
      val isPython = find { case Using("python") => () }.isDefined
      val (code, location) = (at { case Code(_) => }, at { case Location(_) => })
      code.filterNot(_ => isPython).foreach(fail(_, "AS with code needs USING python"))
      if (code.isDefined) location.foreach(fail(_, "LOCATION cannot go with code"))
      if (code.isEmpty && location.isEmpty)
        fail(end, "expected LOCATION '...'" + (if (isPython) ", or AS with code" else ""))
    }

    private def at(pick: PartialFunction[Value, Unit]): Option[Token] =
      found.collectFirst { case (token, value) if pick.isDefinedAt(value) => token }
  }

  private def unique(options: List[(Token, (String, Any))]): Seq[(String, Any)] = {
    val pairs = options.map(_._2)
    options.zipWithIndex.collectFirst {
      case ((token, (key, _)), index) if pairs.take(index).exists(_._1 == key) =>
        fail(token, s"option $key is there already")
    }.getOrElse(pairs)
  }

  // Types are Spark's to parse. It sees them where they are in the statement, so that its errors have the right place.

  private def columns: Parser[(String, StructType)] =
    region.map(part => (part.text, typed(part)(CatalystSqlParser.parseTableSchema)))

  private def dataType: Parser[String] = untilWord(ClauseWords, "a type").map { part =>
    typed(part)(CatalystSqlParser.parseDataType)
    part.text
  }

  private def outputType(schema: StructType): String =
    if (schema.length == 1) schema.head.dataType.sql else schema.sql

  private def typed[T](part: Part)(parse: String => T): T =
    try parse(sql.take(part.start).map(c => if (c == '\n') c else ' ') + part.text)
    catch {
      case e: ParseException =>
        throw new ParseException(
          Some(sql), e.start, e.getCondition, e.getMessageParameters.asScala.toMap, e.getQueryContext)
    }
}
