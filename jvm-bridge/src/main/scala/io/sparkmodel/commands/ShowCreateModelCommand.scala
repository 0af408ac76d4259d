// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import io.sparkmodel.models.LocalModels
import io.sparkmodel.parse.ShowCreateModel
import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.sql.catalyst.expressions.Attribute

case class ShowCreateModelCommand(statement: ShowCreateModel) extends ModelCommand {
  override val output: Seq[Attribute] = Seq(column("createmodel_stmt"))

  override protected def perform(session: SparkSession): Seq[Row] = {
    val text = LocalModels.find(session, statement.name) match {
      case Some(local) => StatementText.toSql(local.statement)
      case None => StatementText.toSql(visible(session, "card", "show", statement.name))
    }
    Seq(Row(text))
  }
}
