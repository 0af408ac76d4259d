// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode
import io.sparkmodel.control.{Control, ControlClient}
import io.sparkmodel.models.{Deployed, LocalModels}
import io.sparkmodel.parse.ShowModels
import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.sql.catalyst.expressions.Attribute
import org.apache.spark.sql.catalyst.util.StringUtils
import org.apache.spark.sql.types.{IntegerType, LongType}

case class ShowModelsCommand(statement: ShowModels) extends ModelCommand {
  override val output: Seq[Attribute] = Seq(
    column("name"), column("version", IntegerType), column("state"), column("workers", IntegerType),
    column("rows", LongType), column("source"), column("comment"),
    column("problem"))

  override protected def perform(session: SparkSession): Seq[Row] = {
    val pools =
      if (Deployed.isIdle) Nil
      else listed.filter(Deployed.isVisible(session, _)).map { model =>
        Row(
          model.path("name").asText, model.path("version").asInt, model.path("state").asText,
          model.path("running").asInt, model.path("rows").asLong, model.path("source").asText,
          model.path("comment").asText(""), model.path("problem").asText(""))
      }
    val local = LocalModels.all(session).map { function =>
      val made = function.statement
      Row(made.name, 1, "ready", 0, null, made.location.getOrElse(""), made.comment.getOrElse(""), "")
    }
    val all = (pools ++ local).sortBy(_.getString(0))
    val pattern = statement.pattern.map(StringUtils.filterPattern(all.map(_.getString(0)), _))
    pattern.fold(all)(names => all.filter(row => names.contains(row.getString(0))))
  }

  private def listed: Seq[JsonNode] =
    Control.call("list", ControlClient.body).required("models").elements.asScala.toSeq
}
