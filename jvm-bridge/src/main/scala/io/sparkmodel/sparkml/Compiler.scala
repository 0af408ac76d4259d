// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sparkml

import scala.annotation.tailrec

import io.sparkmodel.wire.ModelException
import org.apache.spark.ml.Transformer
import org.apache.spark.ml.functions.array_to_vector
import org.apache.spark.ml.linalg.SQLDataTypes.VectorType
import org.apache.spark.sql.{Column, DataFrame, SparkSession}
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans.logical.{LeafNode, LogicalPlan, Project, SubqueryAlias, View}
import org.apache.spark.sql.functions.when
import org.apache.spark.sql.sparkmodel.{CatalystInternals, SqlInternals}
import org.apache.spark.sql.types._

/**
 * Makes a program of a model's stages: they transform a table without rows, and the plan of the result says which
 * expressions they are. So Spark ML itself decides what a stage does.
 */
private[sparkml] object Compiler {

  /**
   * @param offered the columns as a call has them
   * @param types the types that they are to be turned into
   */
  def compile(
      spark: SparkSession,
      name: String,
      stages: Seq[Transformer],
      offered: StructType,
      types: Seq[DataType],
      output: Column): Program = CatalystInternals.duringAnalysis {
    val table = SqlInternals.emptyTable(spark, offered)
    val columns = offered.zip(types).map { case (field, dataType) => converted(field, dataType) }
    val transformed = run(name, table.select(columns: _*), stages)
    val result = transformed.select(output.as("result"))
    val once = CatalystInternals.deterministic(SqlInternals.analyzed(result))
    val plan = SqlInternals.optimized(SqlInternals.withPlan(result, once))
    val steps = projections(name, plan)
    steps.flatMap(_._2).foreach(_.foreach {
      case part: Unevaluable if !part.isInstanceOf[Attribute] => throw refused(name, s"it has '${part.sql}'", None)
      case _ =>
    })
    new Program(steps, plan.output.head.dataType)
  }

  /** A vector where a column is an array of numbers. */
  def vectors(dataType: DataType): DataType = dataType match {
    case ArrayType(_: NumericType, _) => VectorType
    case other => other
  }

  /** Whether a column of a type can be given for one of another. */
  def converts(from: DataType, to: DataType): Boolean =
    from == to || from == NullType || (from match {
      case ArrayType(_: NumericType, _) if to == VectorType => true
      case _ => Cast.canUpCast(from, to) || (from.isInstanceOf[NumericType] && to == DoubleType)
    })

  private def converted(field: StructField, to: DataType): Column = {
    val column = Outputs.named(field.name)
    val value =
      if (field.dataType == to) column
      else if (to == VectorType && field.dataType.isInstanceOf[ArrayType]) {
        when(column.isNotNull, array_to_vector(column.cast(ArrayType(DoubleType))))
      } else column.cast(to)
    if (value == column) column else value.as(field.name, field.metadata)
  }

  @tailrec private def run(name: String, data: DataFrame, stages: Seq[Transformer]): DataFrame = stages match {
    case stage +: more =>
      val ready = Sizes.unknown(data, stage) match {
        case Seq() => data
        case columns =>
          val completed = if (columns.size == 1) Sizes.completed(data, columns.head, stages) else None
          completed.getOrElse(throw new ModelException(
            "UNSUPPORTED_SOURCE",
            s"Cannot make a function of model '$name'",
            s"${label(stage)} has vectors of unknown size: ${columns.mkString(", ")}",
            "put a VectorSizeHint for each before it and save the model again"))
      }
      val made = stage.transform(ready).toDF()
      rowWise(SqlInternals.analyzed(made)).foreach(fact => throw refused(name, fact, Some(stage)))
      run(name, made, more)
    case _ => data
  }

  private def label(stage: Transformer): String = s"stage ${stage.getClass.getSimpleName} '${stage.uid}'"

  /** What keeps a plan from being computed row by row. */
  private def rowWise(plan: LogicalPlan): Option[String] = {
    val nodes = plan.collectFirst {
      case node if !node.isInstanceOf[Project] && !node.isInstanceOf[SubqueryAlias] && !node.isInstanceOf[View] &&
          !node.isInstanceOf[LeafNode] =>
        s"it needs the whole table (${node.nodeName})"
    }
    nodes.orElse(plan.collect { case node: Project => node.projectList }.flatten.flatMap(_.collectFirst {
      case part @ (_: Nondeterministic | _: PythonUDF | _: SubqueryExpression) => s"it has '${part.sql}'"
    }).headOption)
  }

  private def projections(name: String, plan: LogicalPlan): Seq[(Seq[Attribute], Seq[Expression])] = {
    @tailrec def below(
        node: LogicalPlan,
        found: List[(Seq[Attribute], Seq[Expression])]): List[(Seq[Attribute], Seq[Expression])] = node match {
      case Project(columns, child) => below(child, (child.output, columns) :: found)
      case _: LeafNode => if (found.isEmpty) List((node.output, node.output)) else found
      case other => throw refused(name, s"it needs the whole table (${other.nodeName})", None)
    }
    below(plan, Nil)
  }

  private def refused(name: String, fact: String, stage: Option[Transformer]): ModelException = new ModelException(
    "UNSUPPORTED_SOURCE",
    s"Cannot make a function of model '$name'",
    stage.fold(fact)(of => s"${label(of)} is not computed row by row: $fact"),
    "leave such stages out of the saved model, or use its transform on a DataFrame")
}
