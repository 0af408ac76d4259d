// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import io.sparkmodel.call.ModelAnalysisException
import io.sparkmodel.models.LocalModels
import io.sparkmodel.parse.ShowModelVersions
import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.sql.catalyst.expressions.Attribute
import org.apache.spark.sql.types.{DoubleType, IntegerType, LongType}

/** What a model served when, oldest first, and whose wish it was. */
case class ShowModelVersionsCommand(statement: ShowModelVersions) extends ModelCommand {
  import statement.name

  override val output: Seq[Attribute] = Seq(
    column("version", IntegerType), column("state"), column("weight", DoubleType), column("workers", IntegerType),
    column("rows", LongType), column("batches", LongType), column("errors", LongType), column("error_rate", DoubleType),
    column("p50_s", DoubleType), column("p95_s", DoubleType), column("source"), column("resolved"), column("by"),
    column("since"), column("until"), column("note"))

  override protected def perform(session: SparkSession): Seq[Row] = {
    if (LocalModels.find(session, name).isDefined) throw ModelAnalysisException(
      "UNSUPPORTED_SOURCE", s"Cannot show the versions of model '$name'",
      "it is evaluated without a pool, which keeps none", s"DESCRIBE MODEL $name tells what it is now")
    ModelVersion.all(visible(session, "versions", "show", name)).map { one =>
      Row(
        one.version, one.state, one.weight, one.workers, one.rows, one.batches, one.errors,
        one.errorRate.map(Double.box).orNull, one.p50S.map(Double.box).orNull, one.p95S.map(Double.box).orNull,
        one.text("source"), one.text("resolved"), one.text("by"), one.text("since"), one.text("until"), one.text("note"))
    }
  }
}
