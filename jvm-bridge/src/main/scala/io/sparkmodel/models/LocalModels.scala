// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import java.util.concurrent.ConcurrentHashMap

import scala.jdk.CollectionConverters._

import io.sparkmodel.call.{Binding, CallSettings, Input, ModelAnalysisException, Named, Positional, Takes}
import io.sparkmodel.parse.CreateModel
import io.sparkmodel.sparkml.SparkMlModel
import io.sparkmodel.wire.ModelException
import org.apache.spark.sql.catalyst.expressions.{CreateNamedStruct, Expression, GetStructField, Literal}
import org.apache.spark.sql.types.StructType

/** A model that this JVM evaluates by itself, without a pool, as a function. */
class LocalFunction(val statement: CreateModel, val model: SparkMlModel) extends (Seq[Expression] => Expression) {
  private val takes = Takes(
    statement.name, Some(model.inputs.map(field => Input(Some(field.name), None, required = true))))

  override def apply(arguments: Seq[Expression]): Expression =
    try model.call(Binding(takes, rowOf(arguments)) match {
      case Named(columns) => columns.map(_._2)
      case Positional(columns) => columns
    })
    catch { case error: ModelException => throw ModelAnalysisException.from(error) }

  /** A struct in which somebody else has put all columns, as one that is made here. */
  private def rowOf(arguments: Seq[Expression]): Seq[Expression] = arguments match {
    case Seq(row) if model.inputs.size > 1 && !row.isInstanceOf[CreateNamedStruct] => row.dataType match {
        case StructType(fields) => Seq(CreateNamedStruct(fields.toSeq.zipWithIndex.flatMap { case (field, i) =>
            Seq(Literal(field.name), GetStructField(row, i, Some(field.name)))
          }))
        case _ => arguments
      }
    case _ => arguments
  }

  def withSettings(settings: CallSettings): LocalFunction =
    if (settings.isEmpty) this
    else throw ModelAnalysisException(
      "INVALID_OPTION", s"Cannot use options in a call of model '${statement.name}'", "it is evaluated without a pool",
      "create another model with other options")
}

/** The models without a pool that all sessions of this driver can call. */
object LocalModels {
  private val models = new ConcurrentHashMap[String, LocalFunction]

  def find(name: String): Option[LocalFunction] = Option(models.get(name.toLowerCase))

  def put(model: LocalFunction): Unit = models.put(model.statement.name.toLowerCase, model)

  def remove(name: String): Boolean = models.remove(name.toLowerCase) != null

  def all: Seq[LocalFunction] = models.values.asScala.toSeq.sortBy(_.statement.name)

  def names: Seq[String] = all.map(_.statement.name)
}
