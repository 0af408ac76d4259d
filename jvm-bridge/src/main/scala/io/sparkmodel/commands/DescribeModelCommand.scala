// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import io.sparkmodel.models.LocalModels
import io.sparkmodel.parse.DescribeModel
import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.sql.catalyst.expressions.Attribute

case class DescribeModelCommand(statement: DescribeModel) extends ModelCommand {
  override val output: Seq[Attribute] = Seq(column("info_name"), column("info_value"))

  override protected def perform(session: SparkSession): Seq[Row] = {
    val rows = LocalModels.find(session, statement.name) match {
      case Some(local) => Description.of(local)
      case None => Description.of(visible(session, "describe", "describe", statement.name), statement.extended)
    }
    rows.map { case (name, value) => Row(name, value) }
  }
}
