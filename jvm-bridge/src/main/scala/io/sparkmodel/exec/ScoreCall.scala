// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import io.sparkmodel.call.{ArgumentRow, ModelCall, ScoreIf}
import io.sparkmodel.wire.{CallOptions, Handle, Schemas, StreamKey}
import org.apache.arrow.vector.types.pojo.Schema
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.internal.SQLConf
import org.apache.spark.sql.sparkmodel.CatalystInternals
import org.apache.spark.sql.types._

/**
 * One model call of an operator, as it is sent to the pool.
 *
 * @param options how it calls, with the time zone of the session
 * @param arguments the columns of the batch; those of a struct argument one by one
 * @param guard the rows that are sent; None for all
 * @param schema of the batch
 */
case class ScoreCall(
    handle: Handle,
    options: CallOptions,
    arguments: Seq[Expression],
    guard: Option[Expression],
    schema: StructType,
    stream: StreamKey,
    largeVarTypes: Boolean,
    resultType: DataType) {

  def arrowSchema: Schema = CatalystInternals.arrowSchema(schema, options.timeZone.get, largeVarTypes)
}

object ScoreCall {

  /** The call that a Python function of ours stands for, with the settings of the session. */
  def apply(udf: PythonUDF): ScoreCall = {
    val handle = ModelCall.handleOf(udf).get
    val (given, guard) = udf.children.lastOption match {
      case Some(ScoreIf(condition)) => (udf.children.init, Some(condition))
      case _ => (udf.children, None)
    }
    val (byName, columns) = given match {
      case several if handle.call.names.size == several.size && several.nonEmpty =>
        (handle.call.byName, handle.call.names.zip(several))
      case Seq(struct) if isRow(struct.dataType) => (true, fieldsOf(struct))
      case several => (false, several.zipWithIndex.map { case (column, i) => i.toString -> column })
    }
    val schema = StructType(columns.map { case (name, column) => StructField(name, column.dataType) })
    val conf = SQLConf.get
    val arrow = CatalystInternals.arrowSchema(schema, conf.sessionLocalTimeZone, conf.arrowUseLargeVarTypes)
    val options =
      handle.call.copy(timeZone = Some(conf.sessionLocalTimeZone), caseSensitive = conf.caseSensitiveAnalysis)
    val stream = StreamKey(Schemas.textOf(arrow), byName, options.told)
    ScoreCall(handle, options, columns.map(_._2), guard, schema, stream, conf.arrowUseLargeVarTypes, udf.dataType)
  }

  private def fieldsOf(struct: Expression): Seq[(String, Expression)] = struct match {
    case ArgumentRow(row) => fieldsOf(row)
    case made: CreateNamedStruct => made.names.map(_.toString).zip(made.valExprs)
    case other =>
      val fields = other.dataType.asInstanceOf[StructType].fields.toSeq
      fields.zipWithIndex.map { case (field, i) => field.name -> GetStructField(other, i, Some(field.name)) }
  }

  /** Whether a struct is a row of named columns; what a vector of Spark ML looks like is one value. */
  private def isRow(dataType: DataType): Boolean = dataType match {
    case StructType(fields) =>
      fields.map(f => f.name -> f.dataType.catalogString).toSeq != Seq(
        "type" -> "tinyint", "size" -> "int", "indices" -> "array<int>", "values" -> "array<double>")
    case _ => false
  }
}
