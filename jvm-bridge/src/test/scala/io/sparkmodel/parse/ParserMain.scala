// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.parse

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode
import io.sparkmodel.wire.Calls
import org.apache.spark.SparkThrowable
import org.apache.spark.sql.{classic, AnalysisException, Row, SparkSession}
import org.apache.spark.sql.catalyst.expressions.{AttributeReference, Literal}
import org.apache.spark.sql.catalyst.parser.{NamedParameterContext, ParserInterface, PositionalParameterContext}
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan
import org.apache.spark.sql.execution.SparkSqlParser
import org.apache.spark.sql.execution.command.LeafRunnableCommand
import org.apache.spark.sql.types.StringType

/** The parser, alone and in a session beside one without it, called from Python's tests. */
object ParserMain {
  def main(arguments: Array[String]): Unit = new Calls(answer).run()

  /** The plan of a statement in these tests, whose result is the statement. */
  case class Said(statement: Statement) extends LeafRunnableCommand {
    override val output = Seq(AttributeReference("statement", StringType, nullable = false)())
    override def run(session: SparkSession): Seq[Row] = Seq(Row(statement.toString))
  }

  private val spark = new SparkSqlParser()
  private val ours: ParserInterface = ModelParser(spark, Said)
  private lazy val (plainSession, ownSession) = {
    val plain = session(identity)
    SparkSession.clearActiveSession()
    SparkSession.clearDefaultSession()
    (plain, session(_.withExtensions(_.injectParser((_, delegate) => ModelParser(delegate, Said)))))
  }

  private def session(more: SparkSession.Builder => SparkSession.Builder): classic.SparkSession = {
    val builder = SparkSession.builder().master("local[1]")
    Seq("spark.ui.enabled" -> "false", "spark.sql.warehouse.dir" -> sys.props("warehouse"),
      "spark.sql.scripting.enabled" -> "true").foreach { case (key, value) => builder.config(key, value) }
    more(builder).getOrCreate().asInstanceOf[classic.SparkSession]
  }

  private def answer(operation: String, a: JsonNode): Any = operation match {
    case "parse" => outcome(plain(StatementParser.parse(sql(a), parameters(a))))
    case "rewrite" => ModelArguments.rewrite(sql(a))
    case "plans" => Seq(spark, ours).map(parser => outcome(shown(parser.parsePlan(sql(a))))).asJava
    case "expressions" => Seq(spark, ours).map(parser => outcome(shown(parser.parseExpression(sql(a))))).asJava
    case "analyzed" => Seq(plainSession, ownSession).map(session => outcome(analyzed(session, sql(a)))).asJava
    case "both" => Seq(plainSession, ownSession).foreach(_.sql(sql(a)).collect())
    case "run" => outcome(run(a))
    case "same" => plain(ours == ours && ours != spark && ours.hashCode == ours.hashCode && ours.toString.nonEmpty)
  }

  private def sql(a: JsonNode): String = a.required("sql").asText

  private def parameters(a: JsonNode) =
    Option(a.get("named")).map(named => NamedParameterContext(
      named.fieldNames.asScala.map(name => name -> Literal(value(named.get(name)))).toMap))
      .orElse(Option(a.get("positional")).map(all => PositionalParameterContext(
        all.elements.asScala.map(node => Literal(value(node))).toSeq)))

  private def value(node: JsonNode): Any =
    if (node.isInt) node.asInt
    else if (node.isNumber) BigDecimal(node.asText)
    else if (node.isBoolean) node.asBoolean
    else if (node.isArray) node.elements.asScala.map(_.asText).toArray
    else node.asText

  private def run(a: JsonNode): Any = {
    val named = Option(a.get("named")).map(named =>
      named.fieldNames.asScala.map(name => name -> value(named.get(name))).toMap)
    val rows = named.fold(ownSession.sql(sql(a)))(ownSession.sql(sql(a), _))
    rows.collect().map(_.toString).toSeq.asJava
  }

  private def analyzed(session: classic.SparkSession, sql: String): String = session.withActive {
    shown(session.sessionState.executePlan(session.sessionState.sqlParser.parsePlan(sql)).analyzed)
  }

  private def shown(plan: Any): String = plan match {
    case plan: LogicalPlan => plan.getClass.getName + "\n" + plan.treeString
    case other => other.getClass.getName + "\n" + other
  }

  // The numbers of expressions, plans and objects are new ones each time.
  private val Numbers =
    ("(?<=#|plan_id=|CTERelationDef |CTERelationRef |UnionLoop |UnionLoopRef )[0-9]+|(?<=@)[0-9a-f]{5,8}|" +
      "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").r

  private def numbered(text: String): String = {
    val known = scala.collection.mutable.LinkedHashMap.empty[String, Int]
    Numbers.replaceAllIn(text, found => "n" + known.getOrElseUpdate(found.matched, known.size))
  }

  private def outcome(result: => Any): Any =
    try Map("result" -> (result match {
      case text: String => numbered(text)
      case other => other
    })).asJava
    catch {
      case e: Throwable =>
        val condition = e match {
          case known: SparkThrowable => known.getCondition
          case _ => null
        }
        val (line, position) = e match {
          case known: AnalysisException => (known.line.getOrElse(null), known.startPosition.getOrElse(null))
          case _ => (null, null)
        }
        val message = numbered(String.valueOf(e.getMessage))
        Map("class" -> e.getClass.getName, "message" -> message, "condition" -> condition, "line" -> line,
          "position" -> position).asJava
    }

  /** A statement as JSON has it. */
  private def plain(value: Any): Any = value match {
    case Some(inner) => plain(inner)
    case None => null
    case pairs: Seq[_] => pairs.map(plain).asJava
    case (key, option) => Seq(plain(key), plain(option)).asJava
    case case_ : Product =>
      (Map("kind" -> case_.productPrefix) ++
        case_.productElementNames.zip(case_.productIterator.map(plain)).toMap).asJava
    case other => other
  }
}
