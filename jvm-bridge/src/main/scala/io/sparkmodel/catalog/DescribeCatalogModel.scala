// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.catalog

import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeReference}
import org.apache.spark.sql.connector.catalog.Identifier
import org.apache.spark.sql.execution.command.LeafRunnableCommand
import org.apache.spark.sql.types.StringType

/** `DESCRIBE FUNCTION mlflow.wine`, which Spark knows for its own catalog only. */
case class DescribeCatalogModel(catalog: String, model: Seq[String]) extends LeafRunnableCommand {
  override val output: Seq[Attribute] = Seq(AttributeReference("function_desc", StringType, nullable = false)())

  override def run(session: SparkSession): Seq[Row] = {
    val described = MlflowCatalog.find(session, catalog).get.loadFunction(Identifier.of(Array.empty, model.head))
    Seq(s"Function: $catalog.${described.name}", "Class: a model of an MLflow registry", s"Usage: ${described.description}")
      .map(Row(_))
  }
}
