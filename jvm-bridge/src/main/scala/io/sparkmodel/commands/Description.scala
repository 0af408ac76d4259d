// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode
import io.sparkmodel.control.Json
import io.sparkmodel.models.LocalFunction

/** The rows of DESCRIBE MODEL. */
object Description {
  def of(card: JsonNode, extended: Boolean): Seq[(String, String)] = {
    def text(path: String*): String = {
      val node = path.foldLeft(card)(_.path(_))
      if (node.isMissingNode || node.isNull) "" else if (node.isTextual) node.asText else node.toString
    }
    val inputs = card.path("inputs").elements.asScala.zipWithIndex.map { case (input, i) =>
      val name = Option(input.path("name").asText(null)).filter(_ != "null").getOrElse((i + 1).toString)
      s"Input $name" -> (input.path("type").asText("any") + (if (input.path("required").asBoolean(true)) "" else " (optional)"))
    }.toSeq
    val versions = ModelVersion.all(card)
    val basic = Seq("Name" -> text("name"), "Comment" -> text("comment")) ++ inputs ++ Seq(
      "Returns" -> text("result_type"),
      "Source" -> text("source"),
      "Resolved" -> text("resolved"),
      "Version" -> text("version"),
      "State" -> text("stats", "state"),
      "Workers" -> text("workers")) ++ Seq("Problem" -> text("problem")).filter(_._2.nonEmpty) ++ versions.filter(_.state == "canary").map(one => "Canary" -> s"version ${one.version}: $one")
    if (!extended) basic
    else basic ++ Seq(
      "Kind" -> text("kind"),
      "Signature" -> text("signature"),
      "Options" -> text("options"),
      "Rows" -> text("stats", "rows"),
      "Batches" -> text("stats", "batches"),
      "Errors" -> text("stats", "errors"),
      "Rows failed" -> text("stats", "rows_failed"),
      "Restarts" -> text("stats", "restarts"),
      "Last end of a worker" -> text("stats", "last_end", "fact"),
      "Latency" -> latency(card.path("latency")),
      "Last error" -> Seq("at", "message").map(text("last_error", _)).filter(_.nonEmpty).mkString(" "),
      "Last error details" -> text("last_error", "details")) ++ versions.map(one => s"Version ${one.version}" -> one.toString)
  }

  /** Of the model, in batches. */
  private def latency(node: JsonNode): String = Json.fields(node).collect {
    case (name, value) if name.endsWith("_s") && value.isNumber => f"${name.dropRight(2)} ${value.asDouble * 1000}%.1f ms"
  }.mkString(", ")

  def of(function: LocalFunction): Seq[(String, String)] =
    Seq("Name" -> function.statement.name, "Comment" -> function.statement.comment.getOrElse("")) ++
      function.model.inputs.map(field => s"Input ${field.name}" -> field.dataType.sql) ++
      Seq(
        "Returns" -> function.model.result.sql,
        "Source" -> function.statement.location.getOrElse(""),
        "State" -> "ready",
        "Workers" -> "0 (evaluated in Spark)") ++
      function.model.description.toSeq.sortBy(_._1)
}
