// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import io.sparkmodel.call.{ArgumentRow, ModelCall, ScoreIf, Signatures}
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
 * @param byName whether the names in it bind
 */
case class ScoreCall(
    handle: Handle,
    options: CallOptions,
    arguments: Seq[Expression],
    guard: Option[Expression],
    schema: StructType,
    byName: Boolean,
    largeVarTypes: Boolean,
    resultType: DataType) {

  def arrowSchema: Schema = CatalystInternals.arrowSchema(schema, options.timeZone.get, largeVarTypes)

  /** What batches of a query are sent as, but for the version that it is held to. */
  def streamOf(query: String): StreamKey = {
    val told = options.told.copy(
      query = if (options.query.isEmpty) query else options.query,
      source = QueryKey.sourceOf(query, options.source))
    StreamKey(Schemas.textOf(arrowSchema), byName, told, handle.contract.digest)
  }
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
        if (handle.call.byName) (true, handle.call.names.zip(several)) else settled(handle, several, handle.call.names)
      case Seq(struct) if isRow(struct.dataType) => (true, fieldsOf(struct))
      case several => settled(handle, several, several.indices.map(_.toString))
    }
    val schema = StructType(columns.map { case (name, column) => StructField(name, column.dataType) })
    val conf = SQLConf.get
    val options =
      handle.call.copy(timeZone = Some(conf.sessionLocalTimeZone), caseSensitive = conf.caseSensitiveAnalysis)
    ScoreCall(handle, options, columns.map(_._2), guard, schema, byName, conf.arrowUseLargeVarTypes, udf.dataType)
  }

  /** Columns that go by position: with names that bind where the plan's own model has them, else with those given. */
  private def settled(
      handle: Handle, columns: Seq[Expression], names: Seq[String]): (Boolean, Seq[(String, Expression)]) = {
    val bound = Signatures.namesOf(handle, columns.map(_.dataType))
    (bound.isDefined, bound.getOrElse(names).zip(columns))
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
