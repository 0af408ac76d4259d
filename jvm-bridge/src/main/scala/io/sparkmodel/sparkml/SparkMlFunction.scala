// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sparkml

import io.sparkmodel.call.{Binding, Input, ModelAnalysisException, Named, Positional, Takes}
import io.sparkmodel.wire.ModelException
import org.apache.spark.sql.catalyst.expressions.{CreateNamedStruct, Expression, GetStructField, Literal}
import org.apache.spark.sql.types.StructType

/** A model of Spark ML as a function: its arguments are bound as those of a model in a pool. */
class SparkMlFunction(name: String, val model: SparkMlModel) extends (Seq[Expression] => Expression) {
  // what types a model accepts is its stages' to say
  private val takes =
    Takes(name, Some(model.inputs.map(field => Input(Some(field.name), None, required = true))))

  override def apply(arguments: Seq[Expression]): Expression =
    try model.call(Binding(takes, fieldsOf(arguments)) match {
      case Named(columns) => columns.map(_._2)
      case Positional(columns) => columns
    })
    catch { case error: ModelException => throw ModelAnalysisException.from(error) }

  /** A struct column that has all inputs, as one that is made here. */
  private def fieldsOf(arguments: Seq[Expression]): Seq[Expression] = arguments match {
    case Seq(row) if model.inputs.size > 1 && !row.isInstanceOf[CreateNamedStruct] => row.dataType match {
        case StructType(fields) => Seq(CreateNamedStruct(fields.toSeq.zipWithIndex.flatMap { case (field, i) =>
            Seq(Literal(field.name), GetStructField(row, i, Some(field.name)))
          }))
        case _ => arguments
      }
    case _ => arguments
  }
}
