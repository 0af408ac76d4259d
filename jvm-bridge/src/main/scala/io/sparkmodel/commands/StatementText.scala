// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.call.ModelAnalysisException
import io.sparkmodel.control.{ControlClient, Json}
import io.sparkmodel.parse.CreateModel

/** The statement that makes a model, as text; and what of it is kept with its pool. */
object StatementText {

  /** What only the statement says; all else of it changes with ALTER, and is the pool's to tell. */
  def toJson(statement: CreateModel): ObjectNode = {
    val node = ControlClient.body.put("temporary", statement.temporary)
    def set(key: String, value: Option[String]): Unit = value.foreach(node.put(key, _))
    set("using", statement.using)
    set("inputs", statement.inputs)
    set("output", statement.output)
    set("code", statement.code)
    node
  }

  def toSql(statement: CreateModel): String = text(
    statement.name, statement.temporary, statement.inputs, statement.output, statement.comment, statement.using,
    statement.location, statement.code, statement.options)

  /** The statement that would make what a card describes. */
  def toSql(card: JsonNode): String = {
    val written = card.path("statement")
    def of(node: JsonNode, key: String): Option[String] = Option(node.get(key)).filterNot(_.isNull).map(_.asText)
    val source = card.path("source").asText
    val using = of(written, "using").orElse(of(card, "using"))
    if (using.isEmpty && card.path("kind").asText == "object") throw ModelAnalysisException(
      "UNSUPPORTED_SOURCE", s"Cannot show the statement of model '${card.path("name").asText}'",
      s"it was registered in Python from an object, a $source", "")
    val code = of(written, "code")
    val options = Json.fields(card.path("options")).flatMap { case (key, node) => entries(key, node) }
    text(
      card.path("name").asText, written.path("temporary").asBoolean, of(written, "inputs"), of(written, "output"),
      of(card, "comment").filter(_.nonEmpty), using, if (code.isEmpty) Some(source) else None, code, options)
  }

  private def text(
      name: String, temporary: Boolean, inputs: Option[String], output: Option[String], comment: Option[String],
      using: Option[String], location: Option[String], code: Option[String], options: Seq[(String, Any)]): String = {
    val clauses =
      inputs.map(columns => s"INPUT ($columns)") ++
        output.map(result => s"RETURNS $result") ++
        comment.map(words => s"COMMENT ${quoted(words)}") ++
        using.map(kind => s"USING $kind") ++
        location.map(uri => s"LOCATION ${quoted(uri)}") ++
        (if (options.isEmpty) None else Some(options.map(written).mkString("OPTIONS (", ", ", ")"))) ++
        code.map(source => s"AS $$$$$source$$$$")
    (s"CREATE ${if (temporary) "TEMPORARY " else ""}MODEL $name" +: clauses.toSeq).mkString("\n  ")
  }

  private def written(option: (String, Any)): String = {
    val key = option._1.split('.').map(part => if (part.matches("[A-Za-z_]\\w*")) part else s"`$part`").mkString(".")
    option._2 match {
      case text: String => s"$key = ${quoted(text)}"
      case other => s"$key = $other"
    }
  }

  /** An option; those of a mapping one by one, or all as JSON where SQL has no literal for a value. */
  private def entries(key: String, node: JsonNode): Seq[(String, Any)] = {
    val inside = Json.fields(node)
    if (inside.isEmpty || !inside.forall { case (name, item) => name.nonEmpty && item.isValueNode && !item.isNull })
      Seq(key -> value(node))
    else inside.map { case (name, item) => s"$key.$name" -> value(item) }
  }

  private def value(node: JsonNode): Any =
    if (node.isNumber) node.numberValue
    else if (node.isBoolean) node.booleanValue
    else if (node.isTextual) node.asText
    else node.toString

  private def quoted(text: String): String = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
}
