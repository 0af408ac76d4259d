// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sparkml

import scala.util.Try

import org.apache.spark.ml.{PipelineModel, Transformer}
import org.apache.spark.ml.feature.{RFormulaModel, SQLTransformer, StringIndexerModel}
import org.apache.spark.ml.linalg.SQLDataTypes.VectorType
import org.apache.spark.ml.param.Param
import org.apache.spark.ml.tuning.{CrossValidatorModel, TrainValidationSplitModel}
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.sparkmodel.SqlInternals
import org.apache.spark.sql.types._

/** Which columns a model reads that none of its stages makes, and of what type. */
private[sparkml] object Columns {
  private val InputParams = Set("inputCol", "inputCols", "featuresCol", "itemsCol", "userCol", "itemCol")
  private val Types = Seq(
    DoubleType, StringType, VectorType, ArrayType(StringType), ArrayType(DoubleType), BooleanType, TimestampType)

  /** The stages that transform rows, in their order. */
  def stages(model: Transformer): Seq[Transformer] = model match {
    case pipeline: PipelineModel => pipeline.stages.toSeq.flatMap(stages)
    case search: CrossValidatorModel => stages(search.bestModel)
    case search: TrainValidationSplitModel => stages(search.bestModel)
    case stage => Seq(stage)
  }

  /**
   * The columns that stages need.
   *
   * A saved model does not say their types, so a type is one that the first stage that reads the column accepts: a
   * guess, which tells what a caller may give, and is used where a call's own types say nothing.
   *
   * @param declared columns whose types the user told
   */
  def needed(spark: SparkSession, of: Seq[Transformer], declared: StructType): StructType =
    of.foldLeft((StructType(Nil), declared)) { case ((found, schema), stage) =>
      val more = stage match {
        case formula: RFormulaModel => // its params name what it makes
          val inner = formula.getClass.getMethod("pipelineModel").invoke(formula).asInstanceOf[PipelineModel]
          needed(spark, stages(inner), schema)
        case _ => guess(stage, schema, reads(spark, stage).filterNot(schema.fieldNames.contains))
      }
      (StructType(found ++ more), after(stage, StructType(schema ++ more)))
    }._1

  /** The schema that a stage makes of another, where it accepts that. */
  def after(stage: Transformer, schema: StructType): StructType =
    Try(stage.transformSchema(schema)).getOrElse(schema)

  private def reads(spark: SparkSession, stage: Transformer): Seq[String] = stage match {
    case query: SQLTransformer =>
      val table = "sparkmodel_columns"
      SqlInternals.columnsOf(spark, query.getStatement.replace("__THIS__", table)).filterNot(_ == table)
    case _ =>
      stage.params.toSeq.filter(param => InputParams(param.name)).flatMap(value(stage, _)).flatMap {
        case names: Array[_] => names.toSeq.map(_.toString)
        case name => Seq(name.toString)
      }.filter(_.nonEmpty).distinct
  }

  private def value(stage: Transformer, param: Param[_]): Option[Any] = stage.get(param).orElse(stage.getDefault(param))

  private def guess(stage: Transformer, schema: StructType, missing: Seq[String]): StructType = {
    val features = value(stage, "featuresCol").toSeq
    val first = stage match {
      case _: StringIndexerModel => Seq(StringType) // numbers would do as well
      case _ => Nil
    }
    val fitting = (first ++ Types).iterator.map { candidate =>
      StructType(missing.map { column =>
        val vector = features.contains(column) && candidate == DoubleType
        StructField(column, if (vector) VectorType else candidate)
      })
    }.find(columns => Try(stage.transformSchema(StructType(schema ++ columns))).isSuccess)
    fitting.getOrElse(StructType(missing.map(StructField(_, DoubleType))))
  }

  /** The value of a param that is a column's name. */
  def value(stage: Transformer, param: String): Option[String] =
    if (!stage.hasParam(param)) None
    else value(stage, stage.getParam(param)).collect { case text: String if text.nonEmpty => text }
}
